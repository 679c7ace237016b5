"""Routes are followed through silence: who knows newer ones says so, and they are listed again."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from support import gateway
from support.gateway import routes, until

from wardrobe_gateway.process.source import Doubt, LostError, follow


class Silent:
    """A source whose watches bring what there is when they are opened, and die without a word."""

    def __init__(self) -> None:
        self.generation = 1
        self.opened: list[float] = []
        self.closed = 0
        self.lost = False

    async def values(self) -> AsyncIterator[int]:
        self.opened.append(asyncio.get_running_loop().time())
        if self.lost:
            raise LostError("away")
        try:
            yield self.generation
            await asyncio.Event().wait()
        finally:
            self.closed += 1


async def test_who_is_behind_lists_again_when_told() -> None:
    silent, doubt, taken, connected = Silent(), Doubt(relist_seconds=0.1), list[int](), list[bool]()
    following = asyncio.create_task(follow(silent.values, taken.append, connected.append, doubt))
    await until(lambda: taken == [1])
    silent.generation = 2
    for nothing_new in (None, "", "1", "0", "-2", "x", "9" * 16, "²"):
        doubt.hear(nothing_new, taken[-1])
    await asyncio.sleep(0.2)
    assert taken == [1]
    doubt.hear("2", taken[-1])
    await until(lambda: taken == [1, 2])
    assert silent.closed == 1
    assert all(connected)  # the apiserver was never away
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert silent.closed == 2


async def test_nobody_makes_it_list_more_than_once_in_a_while() -> None:
    silent, doubt = Silent(), Doubt(relist_seconds=0.1)
    following = asyncio.create_task(follow(silent.values, lambda _: None, lambda _: None, doubt))

    def opened() -> bool:
        doubt.hear("999", 1)
        return len(silent.opened) == 5

    await until(opened)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert silent.opened[-1] - silent.opened[0] >= 0.4


async def test_the_asker_of_a_state_says_what_generation_it_knows() -> None:
    async with gateway.router() as router, aiohttp.ClientSession() as session:
        router.apply(routes([], {}, generation=3))
        silent, taken = Silent(), list[int]()
        following = asyncio.create_task(
            follow(silent.values, taken.append, lambda _: None, router.router.in_force.doubt)
        )
        await until(lambda: taken == [1])
        async with session.get(f"{router.ops.url}/state?generation=4") as answer:
            assert answer.status == 200
        await until(lambda: taken == [1, 1])
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
