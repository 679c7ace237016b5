"""The agent: an engine pod's only listener. It fetches, loads, proves, and serves what is proved."""
