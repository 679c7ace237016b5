"""Where a department's request waits for its place in the engine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from ..clock import wait
from ..errors import RETRY_LATER, ApiError
from .fair_queue import FairQueue

MOST_WAITING = 64
"""Requests of one department that wait for a place: two batches of the engine."""
WAIT_SECONDS = 10.0
"""So long a request waits for a place, at one replica. Then its router looks whether another has one free."""


class EngineAdmission:
    """Lets departments' requests through. Proofs do not come this way: their places are kept free for them."""

    def __init__(self, places: int, most_waiting: int = MOST_WAITING, wait_seconds: float = WAIT_SECONDS) -> None:
        self.queue: FairQueue[asyncio.Event] = FairQueue(places, most_waiting)
        self._most_waiting = most_waiting
        self._wait_seconds = wait_seconds

    @contextlib.asynccontextmanager
    async def place(self, department: str, *, waits: bool = True) -> AsyncIterator[None]:
        """Wait for a place in the engine, and hold it. Raises ApiError where there is none in time."""
        admitted = asyncio.Event()
        if not self.queue.join(department, admitted):
            raise _full(f"{self._most_waiting} requests of the department wait already")
        self._admit()
        try:
            seconds = self._wait_seconds if waits else 0.0
            await wait(admitted, seconds)
            if not admitted.is_set():
                raise _full(f"the engine had no place for {seconds:g} s")
            yield
        finally:
            if admitted.is_set():
                self.queue.release(department)
            else:
                self.queue.withdraw(department, admitted)
            self._admit()

    def _admit(self) -> None:
        for admitted in self.queue.admit():
            admitted.set()


def _full(why: str) -> ApiError:
    return ApiError(429, "engine_full", f"{why}; try again", headers=RETRY_LATER)
