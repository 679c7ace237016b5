"""A work queue with the semantics of client-go's: a key is worked on by one worker at a time, and never lost.

A key that is added while it is being worked on runs once more afterwards; a key that waits is not added twice.
What answers requests goes before what trains, and news before what the first listing brought.
"""

import asyncio
import random
from collections.abc import Callable

from wardrobe.api import adapter, adapterdeployment
from wardrobe.api.meta import Key

FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 60.0
ANSWERING = frozenset({adapterdeployment.KIND, adapter.KIND})
"""Kinds that requests of departments depend on."""
PREFERRED_IN_TURN = 3
"""After so many keys by rank, one goes to whoever waits longest: nothing starves, and a rollback waits for one key."""


class WorkQueue:
    """Keys to reconcile. To be used from one event loop; `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: tuple[dict[Key, float], ...] = ({}, {}, {}, {})
        """By rank, each in order of arrival: since when a key waits."""
        self._ready = asyncio.Semaphore(0)
        self._preferred = 0
        self._taken_at = clock()
        self._working: dict[Key, float] = {}
        self._dirty: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key, *, listed: bool = False) -> None:
        """Have the key worked on as soon as a worker is free; `listed` is what is no news."""
        self._cancel_timer(key)
        if key in self._working:
            self._dirty.add(key)
            return
        rank = _rank(key, listed=listed)
        before = next((lane for lane in self._waiting if key in lane), None)
        if before is None:
            self._waiting[rank][key] = self._clock()
            self._ready.release()
        elif before is not self._waiting[rank] and not listed:
            self._waiting[rank][key] = before.pop(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have the key worked on in a while; an earlier time that is already set stays."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= due:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_at(due, self.add, key)

    def retry(self, key: Key) -> None:
        """Have a failed key worked on again, later each time."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 16), LAST_RETRY_SECONDS)
        self.add_after(key, delay * random.uniform(0.8, 1.2))  # noqa: S311  jitter, not a secret

    def forget(self, key: Key) -> None:
        """The key succeeded: its next failure waits the shortest time again."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key; it belongs to the caller until `done`."""
        await self._ready.acquire()
        key = self._next()
        self._taken_at = self._working[key] = self._clock()
        return key

    def done(self, key: Key) -> None:
        """The caller is finished with the key, whatever came of it."""
        del self._working[key]
        if key in self._dirty:
            self._dirty.remove(key)
            self.add(key)

    def depth(self) -> int:
        """Keys that wait for a worker."""
        return sum(map(len, self._waiting))

    def oldest_seconds(self) -> float:
        """How long the key that waits longest has waited; 0 while none waits."""
        now = self._clock()
        return now - min((since for lane in self._waiting for since in lane.values()), default=now)

    def stalled_seconds(self) -> float:
        """How long no work goes on: a worker is with one key, or none takes any of those that wait."""
        untouched = min(self.oldest_seconds(), self._clock() - self._taken_at)
        return max([untouched, *(self._clock() - since for since in self._working.values())])

    def idle(self) -> bool:
        """Whether nothing waits and nothing is worked on; timers do not count."""
        return not self.depth() and not self._working

    def _next(self) -> Key:
        """By rank, and now and then whoever waits longest."""
        lanes = [lane for lane in self._waiting if lane]
        self._preferred += 1
        if self._preferred > PREFERRED_IN_TURN:
            self._preferred = 0
            lanes.sort(key=lambda lane: next(iter(lane.values())))
        key = next(iter(lanes[0]))
        del lanes[0][key]
        return key

    def _cancel_timer(self, key: Key) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()


def _rank(key: Key, *, listed: bool) -> int:
    """Of four; the lowest is worked on first."""
    return 2 * (key.kind not in ANSWERING) + listed
