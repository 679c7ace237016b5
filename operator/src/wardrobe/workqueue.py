"""A work queue with the semantics of client-go's: a key is worked on by one worker at a time, and never lost.

A key that is added while it is being worked on runs once more afterwards; a key that waits is not added twice.
"""

import asyncio
import random
from collections.abc import Callable

from wardrobe.api.meta import Key

FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 60.0


class WorkQueue:
    """Keys to reconcile. To be used from one event loop; `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting_since: dict[Key, float] = {}
        self._working: set[Key] = set()
        self._dirty: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def add(self, key: Key) -> None:
        """Have the key worked on as soon as a worker is free."""
        self._cancel_timer(key)
        if key in self._working:
            self._dirty.add(key)
        elif key not in self._waiting_since:
            self._waiting_since[key] = self._clock()
            self._ready.put_nowait(key)

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
        key = await self._ready.get()
        del self._waiting_since[key]
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """The caller is finished with the key, whatever came of it."""
        self._working.remove(key)
        if key in self._dirty:
            self._dirty.remove(key)
            self.add(key)

    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._waiting_since)

    def oldest_seconds(self) -> float:
        """How long the key that waits longest has waited; 0 while none waits."""
        return max((self._clock() - since for since in self._waiting_since.values()), default=0.0)

    def idle(self) -> bool:
        """Whether nothing waits and nothing is worked on; timers do not count."""
        return not self._waiting_since and not self._working

    def _cancel_timer(self, key: Key) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
