"""Departments before a full engine: by turns, within bounds. The structure alone, and the admission around it."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from wardrobe_gateway.agent.engine_admission import EngineAdmission
from wardrobe_gateway.agent.fair_queue import SHARE, FairQueue
from wardrobe_gateway.errors import ApiError

DEPARTMENTS = "abcd"
ACTS = st.lists(st.tuples(st.sampled_from(["join", "release", "withdraw"]), st.sampled_from(DEPARTMENTS)), max_size=120)


@given(ACTS, st.integers(1, 9), st.integers(1, 5))
def test_whatever_comes_and_goes(acts: list[tuple[str, str]], places: int, most_waiting: int) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(places, most_waiting)
    last: Counter[str] = Counter()
    for number, (act, department) in enumerate(acts):
        if act == "join":
            full = len(queue.waiting.get(department, ())) >= most_waiting
            assert queue.join(department, (department, number)) is not full
        elif act == "release" and queue.inside[department]:
            queue.release(department)
        elif act == "withdraw" and department in queue.waiting:
            queue.withdraw(department, queue.waiting[department][-1])
        for who, came in queue.admit():
            assert came >= last[who]  # within a department, who came first goes first
            last[who] = came
        free = places - queue.inside.total()
        assert free >= 0
        assert all(queue.inside[waiting] for waiting in queue.waiting) or not free  # nobody is shut out beside a place
        assert all(len(waiting) in range(1, most_waiting + 1) for waiting in queue.waiting.values())


def test_one_department_takes_three_quarters_and_two_take_the_same() -> None:
    queue: FairQueue[str] = FairQueue(28, 200)
    for _ in range(200):
        queue.join("a", "a")
    assert len(queue.admit()) == 21
    for _ in range(200):
        queue.join("b", "b")
    assert len(queue.admit()) == 6  # at once
    for _ in range(100):
        queue.release("a")
        queue.admit()
    assert queue.inside == {"a": 12, "b": 12}
    queue.join("c", "c")
    assert queue.admit() == ["c"]
    assert queue.inside["a"] <= SHARE * (28 - queue.inside.total() + 1)


async def test_a_place_is_given_back_by_whoever_leaves_in_whatever_way() -> None:
    entrance = EngineAdmission(1)
    ended = asyncio.Event()

    async def one(department: str) -> str:
        async with entrance.place(department):
            await ended.wait()
        return department

    first = asyncio.create_task(one("a"))
    waits, gone = asyncio.create_task(one("a")), asyncio.create_task(one("b"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    ended.set()
    assert list(await asyncio.gather(first, waits)) == ["a", "a"]
    assert not entrance.queue.inside
    assert not entrance.queue.waiting


async def test_waiting_is_bounded_in_count_and_seconds() -> None:
    entrance = EngineAdmission(1, most_waiting=2, wait_seconds=0.05)
    async with entrance.place("a"):
        tries = await asyncio.gather(*(_enter(entrance, "a") for _ in range(3)), _enter(entrance, "b"))
    assert all(message.startswith("429, in 1 s: ") for message in tries)
    assert sum("wait already" in message for message in tries) == 1
    assert await _enter(entrance, "a") == ""


async def _enter(entrance: EngineAdmission, department: str) -> str:
    try:
        async with entrance.place(department):
            return ""
    except ApiError as raised:
        return f"{raised.status}, in {raised.headers['Retry-After']} s: {raised.message}"
