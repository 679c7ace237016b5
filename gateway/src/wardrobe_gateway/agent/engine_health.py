"""The engine's life as the agent sees it: up, down, started anew."""

import asyncio
import logging
import time
from collections.abc import Callable

from wardrobe_contracts.state import EngineState, Reason

from ..clock import timestamp, wait
from ..engines import (
    Engine,
    EngineBusyError,
    EngineDownError,
    EngineGoneError,
    EngineRejectedError,
    EngineSilentError,
)
from .adapters import AdapterSet

CHECK_SECONDS = 0.5
UNWELL_SECONDS = 1.0
"""An engine that says that it is ill, or breaks connections, counts as down after so long without any progress."""
SILENT_SECONDS = 30.0
"""And one that is only slow, after so long. It may be busy: a request, however large, must not take all adapters away.
An engine whose model hangs ends its process itself, and one that has ended refuses connections, which is down at once.
"""

log = logging.getLogger(__name__)


class EngineHealth:
    """Follows the engine, and takes back what the adapters were to one that is no more. `watch` runs for ever."""

    def __init__(self, engine: Engine, adapters: AdapterSet) -> None:
        self.state = EngineState(up=False, since=timestamp(), message="not seen yet")
        self.listed: frozenset[str] = frozenset()
        """Adapters that the engine has, as it last said."""
        self._engine = engine
        self._adapters = adapters
        self._progress_at = 0.0
        self._check = asyncio.Event()

    def progressed(self) -> None:
        """The engine makes progress."""
        self._progress_at = time.monotonic()

    def suspect(self) -> None:
        """A request found the engine away: look now, not at the next check."""
        self._check.set()

    async def watch(self, changed: Callable[[], None]) -> None:
        """Check the engine for ever; `changed` is called when it came or went."""
        while True:
            before = self.state
            try:
                await self._look()
                self.progressed()
            except EngineGoneError as error:
                self._lost(str(error))
            except (EngineSilentError, EngineBusyError) as error:
                self._lost_after(SILENT_SECONDS, str(error))
            except (EngineDownError, EngineRejectedError) as error:
                self._lost_after(UNWELL_SECONDS, str(error))
            if self.state is not before:
                changed()
            self._check.clear()
            await wait(self._check, CHECK_SECONDS)

    async def list(self) -> None:
        """Ask which adapters the engine has. Raises the engine's errors."""
        self.listed = await self._engine.loaded()

    async def _look(self) -> None:
        """One check. Adapters that it should have and has not mean that it was started anew."""
        await self._engine.check()
        before = self._adapters.loaded
        await self.list()
        missing = before - self.listed
        if not self.state.up:
            self._answered()
        elif missing & self._adapters.loaded:
            log.warning("the engine has lost %s", ", ".join(sorted(missing)))
            self._adapters.lose_engine(Reason.ENGINE_DOWN, "the engine was started anew")
            self._answered()

    def _answered(self) -> None:
        starts = self.state.starts + 1
        log.info("engine is up, seen for the time %d", starts)
        self.state = EngineState(up=True, since=timestamp(), starts=starts)

    def _lost_after(self, seconds: float, message: str) -> None:
        """Nothing is taken away while any request gets on."""
        if not self.state.up or time.monotonic() - self._progress_at >= seconds:
            self._lost(message)

    def _lost(self, message: str) -> None:
        self.listed = frozenset()
        if self.state.up:
            log.error("engine is down: %s", message)
            self._adapters.lose_engine(Reason.ENGINE_DOWN, message)
            self.state = EngineState(up=False, since=timestamp(), starts=self.state.starts, message=message)
        else:
            self.state = self.state.model_copy(update={"message": message})
