"""The asyncio side's view of the engine: requests in, events out, bounds kept."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import Future
from pathlib import Path

from . import adapter_files
from .adapters import Loaded
from .errors import EngineError, OverloadedError, StoppingError
from .generation import Event, Failed, Generation, Token
from .loading import Base
from .metrics import Metrics
from .model import Model
from .options import Options
from .worker import Load, Unload, Worker

STOP_SECONDS = 5.0
"""How long the last step may take when the engine stops."""


class Engine:
    """One base with its adapters, for use in one event loop."""

    def __init__(self, base: Base, options: Options, model: Model) -> None:
        self.options = options
        self.metrics = Metrics()
        self.tokenizer = base.tokenizer
        self.device = base.device.type
        self.max_total_tokens = min(options.max_total_tokens or base.context_length, base.context_length)
        self._features = model.features
        self._loop = asyncio.get_running_loop()
        self._listeners: dict[Generation, asyncio.Queue[Event]] = {}
        self._left = asyncio.Event()
        """Set whenever a request is over."""
        self._stopping = False
        self._worker = Worker(
            model,
            tokenizer=base.tokenizer.backend_tokenizer,
            eos=base.eos,
            max_batch=options.max_batch,
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

    def trouble(self) -> str | None:
        """Why the engine should not get requests, or None."""
        return self._worker.trouble()

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
        for request in self._listeners:
            self._give(request, Failed(StoppingError("the engine stops, and the time to finish is over")))

    def stop(self) -> bool:
        """End the model's thread; False where it hangs."""
        return self._worker.stop(STOP_SECONDS)

    async def _events(self, request: Generation) -> AsyncIterator[Event]:
        if self._stopping:
            raise StoppingError("the engine stops")
        if len(self._listeners) >= self.limit:
            raise OverloadedError("Model is overloaded")
        events: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners[request] = events
        self._worker.submit(request)
        while True:
            event = await events.get()
            yield event
            if isinstance(event, Token) and event.end:
                return

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
