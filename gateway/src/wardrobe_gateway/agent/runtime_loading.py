"""The strategy for an engine that takes adapters, and gives them back, while it runs."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from wardrobe_contracts.routes import EngineAdapterName
from wardrobe_contracts.state import EngineSets, Reason, Verdict

from ..engines import EngineBusyError, EngineDownError, EngineRejectedError, LoadsAtRunTime
from . import steps
from .adapters import LocalAdapter
from .copies import Copies
from .engine_health import EngineHealth
from .outcomes import Failed, Loaded
from .patience import Patience
from .steps import Observed, OwnStep, Step, Unload

log = logging.getLogger(__name__)


class RuntimeLoading:
    """Loads and unloads one adapter at a time."""

    def __init__(self, engine: LoadsAtRunTime, health: EngineHealth, copies: Copies, patience: Patience) -> None:
        self._engine = engine
        self._health = health
        self._copies = copies
        self._patience = patience
        self._unload_from: dict[EngineAdapterName, float] = {}

    def next_step(self, adapters: Mapping[EngineAdapterName, LocalAdapter], observed: Observed) -> Step | None:
        """By what the engine lists, and what it had when it was last told to drop it."""
        has = self._health.listed | self._copies.kept.keys()
        return steps.next_step(adapters, replace(observed, has=has, unload_from=self._unload_from))

    async def load(self, adapter: LocalAdapter) -> Loaded | Failed:
        """Give it to the engine."""
        assert adapter.fetched is not None  # noqa: S101  decided by next_step
        try:
            await self._engine.load(adapter.name, adapter.fetched.folder)
        except EngineRejectedError as error:
            return Failed(Verdict.LOAD_FAILED, Reason.REFUSED_BY_ENGINE, str(error))
        return Loaded()

    async def carry_out(self, step: OwnStep) -> None:
        """Unload, which is all that `next_step` asks for."""
        assert isinstance(step, Unload)  # noqa: S101  see above
        await self._unload(step.name)

    def sets(self) -> EngineSets | None:
        """None: it is never started for its adapters."""
        return None

    async def _unload(self, name: EngineAdapterName) -> None:
        """Take it from the engine; its files may go once the engine does not list it any more."""
        self._unload_from[name] = time.monotonic() + self._patience.retry
        try:
            async with asyncio.timeout(self._patience.unload):
                await self._engine.unload(name)
                await self._health.list()
        except (EngineDownError, EngineBusyError, EngineRejectedError, TimeoutError) as error:
            log.warning("%s: not unloaded yet: %s", name, str(error) or type(error).__name__)
            return
        if name not in self._health.listed:
            del self._unload_from[name]
            self._copies.release(name)
