"""Rows as numbers: in files, and sorted a part at a time."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wardrobe_trainer.index import COLUMNS, Index, Side, Table, among, conflicts, different, duplicates

HASHES = st.lists(st.sampled_from([0, 1, 2**60, 2**60 + 1, 2**63, 2**64 - 1]), max_size=12)


def column(values: list[int]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.array(values, dtype=np.uint64)


def test_more_rows_than_are_written_at_once(tmp_path: Path) -> None:
    index, rows = Index(tmp_path), 40_000
    for number in range(rows):
        index.add((number, 0, Side.TRAIN, number % 7, 1, 5, 3, 0, number * 2**40, number, 2**64 - 1 - number))
    table = index.table()
    assert len(table) == rows
    assert {name: table[name].dtype for name in COLUMNS} == {name: np.dtype(kind) for name, kind in COLUMNS.items()}
    assert (table["number"] == np.arange(rows)).all()
    assert (table["prompt"] == np.arange(rows, dtype=np.uint64) * np.uint64(2**40)).all()
    assert int(table["answer"][-1]) == 2**64 - rows
    table.mark(table.places(Side.TRAIN)[-2:], 1)
    table["side"][:5] = Side.LEFT_OUT
    assert (table["flags"] == 2).nonzero()[0].tolist() == [rows - 2, rows - 1]
    assert table.count(Side.LEFT_OUT) == 5


def test_no_row_at_all(tmp_path: Path) -> None:
    assert len(Index(tmp_path).table()) == 0


@given(hashes=HASHES, others=HASHES)
def test_a_part_at_a_time_comes_to_what_all_at_once_do(hashes: list[int], others: list[int]) -> None:
    assert different(column(hashes)) == len(set(hashes))
    assert among(column(hashes), column(others)).tolist() == [one in others for one in hashes]


@given(rows=st.lists(st.tuples(st.sampled_from([0, 1, 2**62, 2**64 - 1]), st.integers(0, 2)), max_size=12))
def test_what_repeats_and_what_conflicts(rows: list[tuple[int, int]]) -> None:
    prompts, answers = column([prompt for prompt, _ in rows]), column([answer for _, answer in rows])
    table = Table({"prompt": prompts, "answer": answers, "side": np.zeros(len(rows), dtype=np.uint8)})
    assert duplicates(table).tolist() == [row in rows[:place] for place, row in enumerate(rows)]
    several = {prompt for prompt, _ in rows if len({answer for one, answer in rows if one == prompt}) > 1}
    assert set(map(int, conflicts(table))) == several
