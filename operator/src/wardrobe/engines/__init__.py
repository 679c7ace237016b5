"""Engines: one file each says what its container is. Adding one is adding a file, and a dialect in the agent."""
