"""What runs an engine's process in the engine's own container, and how it gets there."""
