"""The asyncio side's view of the engine: requests in, events out, bounds kept."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future
from pathlib import Path

from . import adapter_files
from .adapters import Loaded
from .deadlines import DEADLINES, Deadlines
from .errors import EngineError, StoppingError
from .generation import Event, Failed, Generation, Token
from .intake import Places
from .loading import Base
from .metrics import Metrics
from .model import Model
from .options import Options
from .prompts import Prompts
from .worker import Load, Unload, Worker

WATCH_SECONDS = 0.5
"""How often the model's thread is looked at."""
THAW_SECONDS = 2.0
"""How long a thread that seems to hang may still show that it was frozen with the whole process, and goes on."""


class Engine:
    """One base with its adapters, for use in one event loop."""

    def __init__(self, base: Base, options: Options, model: Model, deadlines: Deadlines = DEADLINES) -> None:
        self.options = options
        self.deadlines = deadlines
        self.metrics = Metrics()
        self.chat = base.chat
        self.device = base.device.type
        self.max_total_tokens = min(options.max_total_tokens or base.context_length, base.context_length)
        self.prompts = Prompts(base.chat, self.max_total_tokens)
        self.places = Places(self.limit)
        self._features = model.features
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[Generation, asyncio.Queue[Event]] = {}
        self._left = asyncio.Event()
        """Set whenever a request is over."""
        self._stopping = False
        self._worker = Worker(
            model,
            chat=base.chat,
            max_batch=options.max_batch,
            max_batch_tokens=options.max_batch_total_tokens,
            stall_seconds=deadlines.stall,
            deliver=self._deliver,
            metrics=self.metrics,
        )
        self._worker.start()

    @property
    def limit(self) -> int:
        """Requests that may be running or waiting."""
        return self.options.max_batch + self.options.max_waiting

    def adapters(self) -> list[Loaded]:
        """What requests may name beside the base."""
        return self._worker.adapters.listed()

    def leaving(self) -> list[Loaded]:
        """Adapters that are unloaded as soon as their last requests have finished."""
        return self._worker.adapters.leaving()

    def trouble(self) -> str | None:
        """Why the engine should not get requests, or None."""
        return self._worker.trouble()

    async def broken(self) -> str:
        """Wait until the model's thread has died or hangs, which only a new process mends. Nobody waits for it then."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self._worker.broken():
                await asyncio.sleep(THAW_SECONDS)
                if why := self._worker.broken():
                    self._fail_all(StoppingError(why))
                    return why

    async def generate(self, request: Generation) -> AsyncGenerator[Event]:
        """Events of a request, the last a Token with its `end`. Closing the iterator cancels it. Raises EngineError."""
        outcome = "cancelled"
        try:
            async for event in self._events(request):
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Token) and event.end:
                    outcome = "success"
                yield event
        except EngineError as error:
            outcome = error.kind
            raise
        finally:
            request.cancelled = True
            self._listeners.pop(request, None)
            self._left.set()
            self.metrics.requests.labels(outcome).inc()
            self.metrics.request_duration.observe(time.monotonic() - request.created)

    async def load(self, name: str, folder: Path) -> None:
        """Make an adapter available. Raises EngineError, and then nothing has changed."""
        names = (self.options.base_name, str(self.options.model), str(self.options.model.resolve()))
        weights = await asyncio.to_thread(adapter_files.read, folder, names, self._features)
        done: Future[None] = Future()
        self._worker.submit(Load(name, weights, done))
        await asyncio.wrap_future(done)

    async def unload(self, name: str) -> None:
        """Refuse new requests for an adapter, and wait until its running ones have finished. Raises EngineError."""
        done: Future[None] = Future()
        self._worker.submit(Unload(name, done))
        await asyncio.wrap_future(done)

    async def drain(self) -> None:
        """Refuse new requests, and wait for the accepted ones, for `drain_seconds` at most."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.options.drain_seconds):
                while self._listeners:
                    self._left.clear()
                    await self._left.wait()
        self._fail_all(StoppingError("the engine stops, and the time to finish is over"))

    def stop(self) -> bool:
        """End the model's thread; False where it hangs."""
        self.prompts.close()
        return self._worker.stop(self.deadlines.stop)

    async def _events(self, request: Generation) -> AsyncIterator[Event]:
        if self._stopping:
            raise StoppingError("the engine stops")
        events: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners[request] = events
        self._worker.submit(request)
        while True:
            event = await events.get()
            yield event
            if isinstance(event, Token) and event.end:
                return

    def _fail_all(self, error: EngineError) -> None:
        self._stopping = True
        for request in self._listeners:
            self._give(request, Failed(error))

    def _deliver(self, events: list[tuple[Generation, Event]]) -> None:
        """Called by the model's thread; the loop may be closed already when the process ends."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._give_all, events)

    def _give_all(self, events: list[tuple[Generation, Event]]) -> None:
        for request, event in events:
            self._give(request, event)

    def _give(self, request: Generation, event: Event) -> None:
        if listener := self._listeners.get(request):
            listener.put_nowait(event)
