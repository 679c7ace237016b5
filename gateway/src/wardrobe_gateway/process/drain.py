"""What is under way, and whether the process is to end."""

import asyncio
import contextlib
from collections.abc import Iterator

from ..clock import wait


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
