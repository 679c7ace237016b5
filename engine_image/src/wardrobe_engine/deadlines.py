"""How long what does not come is waited for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Deadlines:
    """All in seconds."""

    body: float = 30.0
    """For a body to arrive: it holds a place meanwhile, and comes from the agent beside us."""
    write: float = 30.0
    """For a client to take bytes of its stream, before the connection is cut: it holds a place."""
    stall: float = 60.0
    """For a pass through the model, which then counts as hung; a model that only failed for so long counts as dead."""
    stop: float = 5.0
    """For the last step when the engine stops."""


DEADLINES = Deadlines()
"""Those of an engine in service."""
