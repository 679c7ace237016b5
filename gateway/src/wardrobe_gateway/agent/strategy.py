"""How an engine comes by its adapters. Copying, proving and forgetting are the same for every engine."""

from collections.abc import Mapping
from typing import Protocol

from wardrobe_contracts.routes import EngineAdapterName
from wardrobe_contracts.state import EngineSets

from .adapters import LocalAdapter
from .outcomes import Failed, Loaded
from .steps import Observed, OwnStep, Step


class Strategy(Protocol):
    """One way to bring what the engine has to what it should have."""

    def next_step(self, adapters: Mapping[EngineAdapterName, LocalAdapter], observed: Observed) -> Step | None:
        """What to do now, for any of the adapters."""
        ...

    async def load(self, adapter: LocalAdapter) -> Loaded | Failed:
        """Give the engine a copied adapter. Raises the engine's errors where it is away or busy."""
        ...

    async def carry_out(self, step: OwnStep) -> None:
        """Take a step that concerns no adapter of the routes alone; where it fails, `next_step` comes back to it
        once `Observed.own_from` is over."""
        ...

    def sets(self) -> EngineSets | None:
        """What the engine has been started with and should be; None for one that is not started for that."""
        ...
