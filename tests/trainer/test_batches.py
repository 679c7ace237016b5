"""Seed and batch size alone say which rows a step takes; ranks and micro-batches only share them out."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from wardrobe_trainer.batches import NO_ROW, Plan

LAYOUTS = [(1, 16), (1, 4), (2, 8), (2, 4), (4, 4), (8, 1)]
"""Processes and micro-batch size, of 16 rows a step."""


def plan(lengths: list[int], processes: int = 1, micro: int = 4, epochs: float = 3.0, seed: int = 7) -> Plan:
    return Plan(lengths, seed, epochs, batch_size=16, micro_batch_size=micro, processes=processes)


def step_of_all(found: Plan, step: int) -> list[int]:
    rows = (row for rank in range(found.processes) for batch in found.micro_batches(step, rank) for row in batch)
    return sorted(row for row in rows if row != NO_ROW)


@given(lengths=st.lists(st.integers(1, 2000), min_size=1, max_size=70), layout=st.sampled_from(LAYOUTS))
def test_every_layout_takes_the_same_rows_in_each_step(lengths: list[int], layout: tuple[int, int]) -> None:
    alone, shared = plan(lengths, 1, 16), plan(lengths, *layout)
    assert shared.steps == alone.steps
    for step in range(alone.steps):
        assert step_of_all(shared, step) == sorted(alone.rows(step))


@given(lengths=st.lists(st.integers(1, 2000), min_size=1, max_size=70), layout=st.sampled_from(LAYOUTS))
def test_ranks_keep_step_and_no_micro_batch_is_empty(lengths: list[int], layout: tuple[int, int]) -> None:
    """A rank with fewer would leave the others waiting in a collective."""
    found = plan(lengths, *layout)
    counts = {len(found.micro_batches(0, rank)) for rank in range(found.processes)}
    assert counts == {found.accumulation}
    for rank in range(found.processes):
        assert all(0 < len(batch) <= found.micro_batch_size for batch in found.of_rank(rank))


@given(rows=st.integers(1, 70))
def test_no_row_comes_twice_in_an_epoch(rows: int) -> None:
    found = plan([5] * rows, 2)
    epoch = Counter(row for step in range(found.steps_per_epoch) for row in found.rows(step))
    assert epoch == Counter(range(rows))


def test_an_epoch_has_an_order_of_its_own_and_a_seed_too() -> None:
    found = plan([5] * 64)
    assert found.rows(0) != found.rows(found.steps_per_epoch)
    assert found.rows(0) != plan([5] * 64, seed=8).rows(0)
    assert found.rows(0) == plan([5] * 64, 2).rows(0)


def test_rows_of_like_length_share_a_micro_batch() -> None:
    lengths = [10 * (row % 16) + 1 for row in range(16)]
    found = plan(lengths, 2)
    batches = [[sorted(lengths[row] for row in batch) for batch in found.micro_batches(0, rank)] for rank in range(2)]
    assert batches[0] == [[121, 131, 141, 151], [41, 51, 61, 71]]
    assert batches[1] == [[81, 91, 101, 111], [1, 11, 21, 31]]


def test_what_is_done_is_skipped() -> None:
    found = plan([5] * 40, 2)
    assert list(found.of_rank(1, done=2)) == list(found.of_rank(1))[2 * found.accumulation :]


def test_steps() -> None:
    assert plan([1] * 451, epochs=2.0).steps == 58
    assert plan([1] * 3, epochs=0.1).steps == 1
