"""How an engine comes by its adapters. Copying, proving and forgetting are the same for every engine."""

from collections.abc import Mapping
from typing import Protocol

from wardrobe_contracts.routes import EngineAdapterName

from .adapters import LocalAdapter
from .outcomes import Failed, Loaded
from .steps import Observed, Step


class Strategy(Protocol):
    """One way to bring what the engine has to what it should have."""

    def next_step(self, adapters: Mapping[EngineAdapterName, LocalAdapter], observed: Observed) -> Step | None:
        """What to do now, for any of the adapters."""
        ...

    async def load(self, adapter: LocalAdapter) -> Loaded | Failed:
        """Give the engine a copied adapter. Raises the engine's errors where it is away or busy."""
        ...

    async def unload(self, name: EngineAdapterName) -> None:
        """Take from the engine what nobody wants there; where that fails, `next_step` comes back to it."""
        ...
