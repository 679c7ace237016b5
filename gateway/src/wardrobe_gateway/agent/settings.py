"""What the agent is told at its start."""

from dataclasses import dataclass
from pathlib import Path

from wardrobe_contracts.base import Variant


@dataclass(frozen=True)
class Settings:
    """Where an agent finds what it serves, and how often it proves it."""

    deployment: str
    store: Path
    cache: Path
    variant: Variant
    """What this pod's engine serves: not another's, while a deployment changes from one to the other."""
    reprove_seconds: float = 300.0
    """How often what is served is proved again."""
