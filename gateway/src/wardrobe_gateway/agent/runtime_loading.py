"""The strategy for an engine that takes adapters, and gives them back, while it runs."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from wardrobe_contracts.routes import EngineAdapterName
from wardrobe_contracts.state import Reason, Verdict

from ..engines import Engine, EngineBusyError, EngineDownError, EngineRejectedError
from . import outcomes, steps
from .adapters import LocalAdapter
from .copies import Copies
from .engine_health import EngineHealth
from .outcomes import Failed, Loaded
from .steps import Observed, Step

UNLOAD_SECONDS = 10.0
"""The engine confirms an unload when the adapter's last request has finished; others do not wait for that."""

log = logging.getLogger(__name__)


class RuntimeLoading:
    """Loads and unloads one adapter at a time."""

    def __init__(self, engine: Engine, health: EngineHealth, copies: Copies) -> None:
        self._engine = engine
        self._health = health
        self._copies = copies
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

    async def unload(self, name: EngineAdapterName) -> None:
        """Take it from the engine; its files may go once the engine does not list it any more."""
        self._unload_from[name] = time.monotonic() + outcomes.RETRY_SECONDS
        try:
            async with asyncio.timeout(UNLOAD_SECONDS):
                await self._engine.unload(name)
                await self._health.list()
        except (EngineDownError, EngineBusyError, EngineRejectedError, TimeoutError) as error:
            log.warning("%s: not unloaded yet: %s", name, str(error) or type(error).__name__)
            return
        if name not in self._health.listed:
            del self._unload_from[name]
            self._copies.release(name)
