"""Where routes and addresses come from, and how they are followed through outages."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")

FIRST_WAIT = 0.2
LONGEST_WAIT = 2.0
"""Between attempts to reach the apiserver: a rollback right after its return must not wait long."""
RELIST_SECONDS = 1.0
"""A stream is opened again on somebody's word at most once in so long: anybody can say a number."""
LONGEST_GENERATION = 15
"""Digits."""

log = logging.getLogger(__name__)


class LostError(Exception):
    """The source is away; what it said last still holds."""


class DoubtedError(Exception):
    """The source may be silent because it is gone."""


@dataclass(frozen=True, order=True)
class Address:
    """An engine pod's two ports, as `host:port`."""

    requests: str
    ops: str


class Source(Protocol):
    """Streams of the current value and every later one. They end by raising LostError, and can be opened again."""

    def routes(self) -> AsyncIterator[str | None]:
        """The routes as text; None where there are none."""
        ...

    def addresses(self, service: str, /) -> AsyncIterator[frozenset[Address]]:
        """Every engine pod of a Service, ready or not."""
        ...


class Doubt:
    """Whether a stream may have died without a word: somebody knows newer routes than it has brought."""

    def __init__(self, relist_seconds: float = RELIST_SECONDS) -> None:
        self._raised = asyncio.Event()
        self._relist_seconds = relist_seconds

    def hear(self, generation: str | None, own: int | None) -> None:
        """A generation that somebody names, as text of any kind."""
        known = generation if generation and generation.isdecimal() and len(generation) <= LONGEST_GENERATION else "0"
        if own is not None and int(known) > own:
            self._raised.set()

    async def wait(self) -> None:
        """Return when there is one, but not before a stream may be opened again."""
        self._raised.clear()
        await asyncio.gather(self._raised.wait(), asyncio.sleep(self._relist_seconds))


async def believed(stream: AsyncIterator[T], doubt: Doubt) -> AsyncIterator[T]:
    """Values of the stream. Raises DoubtedError once they are doubted, a while after the first or later."""
    doubted: asyncio.Task[None] | None = None
    coming = asyncio.ensure_future(anext(stream))
    try:
        while True:
            await asyncio.wait({coming, doubted} if doubted else {coming}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                raise DoubtedError
            yield coming.result()
            doubted = doubted or asyncio.create_task(doubt.wait())
            coming = asyncio.ensure_future(anext(stream))
    except StopAsyncIteration:
        return
    finally:
        for task in (coming, doubted):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (coming, doubted) if task is not None), return_exceptions=True)


async def follow(
    stream: Callable[[], AsyncIterator[T]],
    take: Callable[[T], None],
    connected: Callable[[bool], None],
    doubt: Doubt,
) -> None:
    """Give every value of the stream to `take`, for ever; open it again whenever it is lost, or doubted."""
    wait = FIRST_WAIT
    while True:
        try:
            async for value in believed(stream(), doubt):
                connected(True)  # noqa: FBT003  what the callback means is its name
                wait = FIRST_WAIT
                take(value)
        except DoubtedError:
            log.info("somebody knows newer routes: listing again")
            continue
        except LostError as error:
            log.warning("source lost: %s", error)
        connected(False)  # noqa: FBT003
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  not for secrets
        wait = min(wait * 2, LONGEST_WAIT)
