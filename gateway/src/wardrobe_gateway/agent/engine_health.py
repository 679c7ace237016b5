"""The engine's life as the agent sees it: up, down, started anew."""

import asyncio
import logging
import time
from collections.abc import Callable

from wardrobe_contracts.engine_process import ProcessState
from wardrobe_contracts.state import EngineState, Reason
from wardrobe_contracts.text import encodable

from ..clock import timestamp, wait
from ..engines import (
    Engine,
    EngineBusyError,
    EngineDownError,
    EngineGoneError,
    EngineRejectedError,
    EngineSilentError,
    loads_at_run_time,
)
from .adapters import AdapterSet
from .engine_process import EngineProcess, words
from .patience import Patience
from .pulse import Pulse

CHECK_SECONDS = 0.5
UNWELL_SECONDS = 1.0
"""An engine that says that it is ill, or breaks connections, counts as down after so long without any progress."""

log = logging.getLogger(__name__)


class EngineHealth:
    """Follows the engine, and takes back what the adapters were to one that is no more. `watch` runs for ever."""

    def __init__(self, engine: Engine, adapters: AdapterSet, process: EngineProcess, patience: Patience) -> None:
        self.state = EngineState(up=False, since=timestamp(), message="not seen yet")
        self.listed: frozenset[str] = frozenset()
        """Adapters that the engine has, as it last said; none for one that cannot say."""
        self.answering: ProcessState | None = None
        """The process that answered last, where a wrapper tells one from the next; None while the engine is down."""
        self._engine = engine
        self._adapters = adapters
        self._process = process
        self._patience = patience
        self._pulse = Pulse(engine, patience)
        self._well_at = 0.0
        """When it last answered that it is."""
        self._silent_from: float | None = None
        """When the first of the last checks began to which nothing was said."""
        self._last_answered: str | None = None
        """Incarnation of the last process that did. What has not yet is starting, which takes what it takes."""
        self._check = asyncio.Event()

    def progressed(self) -> None:
        """The engine's model makes progress."""
        self._pulse.beat()

    def suspect(self) -> None:
        """A request found the engine away: look now, not at the next check."""
        self._check.set()

    async def watch(self, changed: Callable[[], None]) -> None:
        """Check the engine for ever; `changed` is called when it came or went."""
        try:
            while True:
                before = self.state
                await self._follow()
                if self.state is not before:
                    changed()
                self._check.clear()
                await wait(self._check, CHECK_SECONDS)
        finally:
            self._pulse.forget()

    async def list(self) -> None:
        """Ask which adapters the engine has, where it can say. Raises the engine's errors."""
        if loads_at_run_time(self._engine):
            self.listed = await self._engine.loaded()

    async def _follow(self) -> None:
        """One check, and what it means."""
        began, silent_from, self._silent_from = time.monotonic(), self._silent_from, None
        try:
            await self._look()
            self._well_at = time.monotonic()
        except EngineGoneError as error:
            self._lost(str(error))
            self._pulse.forget()
        except EngineSilentError as error:
            self._lost_after(self._patience.silent, str(error))
            self._silent(began if silent_from is None else silent_from, str(error))
        except EngineBusyError as error:
            self._lost_after(self._patience.silent, str(error))
        except (EngineDownError, EngineRejectedError) as error:
            self._lost_after(UNWELL_SECONDS, str(error))

    async def _look(self) -> None:
        """One check. Another process, or adapters that it should have and has not, mean that it was started anew."""
        process = self._require_process()
        await self._engine.check()
        before = self._adapters.loaded
        await self.list()
        missing = (before - self.listed) & self._adapters.loaded if loads_at_run_time(self._engine) else frozenset()
        if process != self._require_process():
            raise EngineGoneError("the engine's process ended while it was asked")
        incarnation = process.incarnation if process else None
        if missing or incarnation != self._last_answered or not self.state.starts:
            self._pulse.forget()
        self._last_answered = incarnation
        await self._pulse.require()
        same, self.answering = process == self.answering, process
        if not self.state.up:
            self._answered()
        elif missing or not same:
            log.warning("the engine was started anew, and has lost %s", ", ".join(sorted(missing)) or "all")
            self._adapters.lose_engine(Reason.ENGINE_DOWN, "the engine was started anew")
            self._answered()

    def _require_process(self) -> ProcessState | None:
        """The process that runs, without what is known of others; None where no wrapper says. Raises EngineGoneError
        where none runs."""
        process = self._process.state()
        if process is not None and process.incarnation is None:
            raise EngineGoneError(words(process.ended) if process.ended else "no process of the engine runs")
        return process and process.model_copy(update={"ended": None})

    def _answered(self) -> None:
        starts = self.state.starts + 1
        log.info("engine is up, seen for the time %d", starts)
        self.state = EngineState(up=True, since=timestamp(), starts=starts)

    def _lost_after(self, seconds: float, message: str) -> None:
        """Nothing is taken away while any request gets on."""
        if not self.state.up or time.monotonic() - max(self._well_at, self._pulse.beat_at) >= seconds:
            self._lost(message)

    def _silent(self, since: float, message: str) -> None:
        """Nothing was said since then. The wrapper kills this process and no other: what runs may be another by now."""
        self._silent_from = since
        nothing_since = max(min(since, self._pulse.still_since or since), self._pulse.beat_at)
        if time.monotonic() - nothing_since < self._patience.hung or self._last_answered is None:
            return
        why = f"{message}, nor has anything else come of it for {self._patience.hung:g} s"
        log.error("the engine's process %s hangs, and is killed: %s", self._last_answered, why)
        try:
            self._process.kill(self._last_answered, why)
        except OSError as error:
            log.warning("the wrapper cannot be told to kill it: %s", error)

    def _lost(self, message: str) -> None:
        message = encodable(message)  # the engine's words, perhaps
        self.listed = frozenset()
        self.answering = None
        if self.state.up:
            log.error("engine is down: %s", message)
            self._adapters.lose_engine(Reason.ENGINE_DOWN, message)
            self.state = EngineState(up=False, since=timestamp(), starts=self.state.starts, message=message)
        else:
            self.state = self.state.model_copy(update={"message": message})
