"""What pods say while their deployment is at rest: looked at every few seconds, without a request to the apiserver.

A deployment that rests is reconciled again only when a pod says something else than the last decision was made upon.
"""

import asyncio
from collections.abc import Callable

from wardrobe.api.meta import Key

from .podstates import PodAnswers, PodStates, gist

LOOK_SECONDS = 5.0
"""Between two rounds. A department whose adapter was taken away reads so in the status within that time."""


class Lookout:
    """Asks what a reconcile has asked, and wakes whose pods answer otherwise."""

    def __init__(self, states: PodStates, wake: Callable[[Key], None], every: float = LOOK_SECONDS) -> None:
        self._states = states
        self._wake = wake
        self._every = every
        self._followed: dict[Key, PodAnswers] = {}

    def follow(self, key: Key, noted: PodAnswers) -> None:
        """From now on, these answers are what the last decision was made upon; none: nothing is asked."""
        if noted:
            self._followed[key] = noted
        else:
            self._followed.pop(key, None)

    async def run(self) -> None:
        """Look at all that is followed, for ever."""
        while True:
            await asyncio.sleep(self._every)
            await asyncio.gather(*(self._look(key, noted) for key, noted in list(self._followed.items())))

    async def _look(self, key: Key, noted: PodAnswers) -> None:
        changed = await asyncio.gather(*(self._changed(address, port, noted) for address, port in noted))
        if any(changed) and self._followed.get(key) is noted:
            del self._followed[key]
            self._wake(key)

    async def _changed(self, address: str, port: int, noted: PodAnswers) -> bool:
        model, before = noted[address, port]
        (answer,) = await self._states.ask([address], port, model)
        return gist(answer) != before
