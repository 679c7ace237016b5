"""What the agent is told at its start."""

from dataclasses import dataclass, field
from pathlib import Path

from wardrobe_contracts import paths
from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import Precision

from .patience import Patience


@dataclass(frozen=True)
class Settings:
    """Where an agent finds what it serves, and how long it waits."""

    deployment: str
    store: Path
    cache: Path
    variant: Variant
    """What this pod's engine serves: not another's, while a deployment changes from one to the other."""
    precision: Precision
    """In what this pod's engine computes."""
    max_concurrent_requests: int | None = None
    """That the engine works on together, proofs among them; None is as many as its facts say."""
    control: Path = Path(paths.CONTROL)
    """Where the engine's wrapper takes orders and says what runs."""
    shards: int = 1
    """GPUs that one engine splits its weights over."""
    patience: Patience = field(default_factory=Patience)

    @property
    def sets(self) -> Path:
        """Where sets are written for an engine that takes adapters when it starts."""
        return self.cache / "sets"
