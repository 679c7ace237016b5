"""A server's life: it starts with its background tasks, ends with any of them, and drains when told to stop."""

import asyncio
import contextlib
import datetime
import logging
import signal
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """How long stopping takes."""

    linger_seconds: float
    """New requests are still taken for so long, until everybody knows that this pod goes."""
    drain_seconds: float
    """Requests under way may take so long after that."""


class Drain:
    """Counts what is under way, and knows whether the process is to end."""

    def __init__(self) -> None:
        self.draining = False
        self.in_flight = 0
        self._stop = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Around each request that is worth waiting for."""
        self.in_flight += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()

    def begin(self) -> None:
        """Say that this process will end."""
        self.draining = True
        self._stop.set()

    async def told(self) -> None:
        """Return once it is told to end."""
        await self._stop.wait()

    async def idle(self, seconds: float) -> None:
        """Return when nothing is under way, or after so long."""
        await wait(self._idle, seconds)


async def serve(
    app: web.Application, port: int, drain: Drain, timing: Timing, background: Sequence[Coroutine[Any, Any, None]]
) -> None:
    """Serve until SIGTERM and then until drained; or until a background task dies, which raises."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain.begin)
    tasks = [asyncio.create_task(work) for work in background]
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    log.info("serving on port %d", port)
    told = asyncio.create_task(drain.told())
    try:
        ended, _ = await asyncio.wait([*tasks, told], return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
        await _drain(runner, drain, timing)
    finally:
        await _end([*tasks, told])
        await runner.cleanup()


async def _drain(runner: web.AppRunner, drain: Drain, timing: Timing) -> None:
    log.info("draining, %d requests under way", drain.in_flight)
    await asyncio.sleep(timing.linger_seconds)
    for site in list(runner.sites):
        await site.stop()
    await drain.idle(timing.drain_seconds)
    log.info("drained, %d requests left", drain.in_flight)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after so long.

    Not by asyncio.wait_for, which in Python 3.11 forgets a cancellation that comes together with the event.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def timestamp() -> str:
    """Now, as the API writes times."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
