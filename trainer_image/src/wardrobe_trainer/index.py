"""What the check keeps of each row in memory: numbers, 45 bytes of them, however long the row is."""

import hashlib
from array import array
from enum import IntEnum
from typing import Any

import numpy as np

from wardrobe_contracts.check import TokenLengths

Column = np.ndarray[Any, np.dtype[Any]]

COLUMNS = {
    "number": "I",  # in the file, from 1
    "apart": "B",  # whether it is of the file of `validation.source`
    "side": "B",
    "longest": "I",  # tokens of its longest example, before truncation
    "examples": "H",  # that keep labels after truncation
    "tokens": "I",  # of those
    "labels": "I",  # of those
    "flags": "B",  # what was found in its text, a bit each (the PLACE of a rule)
    "prompt": "Q",  # hash of all before the last answer
    "question": "Q",  # hash of all that the user says
    "answer": "Q",  # hash of the last answer
}
"""By their types in `array` and numpy alike."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that no two prompts become one: 2^64 over the golden ratio (Knuth, TAOCP 3, 6.4)."""


class Side(IntEnum):
    """Where a row went."""

    TRAIN = 0
    HELDOUT = 1
    DROPPED = 2
    """Truncation removes all of its answers."""
    LEFT_OUT = 3
    """It would be trained on, and a near copy of it is held out, or another row that asks the same."""


class Index:
    """A table that grows row by row, in the order of the file."""

    def __init__(self) -> None:
        self._columns = [array(kind) for kind in COLUMNS.values()]

    def add(self, row: tuple[int, ...]) -> None:
        """One row, in the order of COLUMNS."""
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def table(self) -> "Table":
        """All rows; none can be added after that."""
        columns = zip(COLUMNS.items(), self._columns, strict=True)
        return Table({name: np.frombuffer(column, dtype=kind) for (name, kind), column in columns})


class Table:
    """All rows of a dataset, in columns."""

    def __init__(self, columns: dict[str, Column]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns["number"])

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def on(self, side: Side) -> Column:
        """Which rows went there."""
        chosen: Column = self["side"] == side
        return chosen

    def count(self, side: Side) -> int:
        """How many rows went there."""
        return int(self.on(side).sum())

    def places(self, side: Side) -> Column:
        """Places in the table of the rows that went there."""
        return np.flatnonzero(self.on(side)).astype(np.uint32)

    def mark(self, places: Column, bit: int) -> None:
        """Set a bit of these rows' flags."""
        self["flags"][places] |= np.uint8(1 << bit)

    @property
    def kept(self) -> Column:
        """Which rows are trained on or held out."""
        chosen: Column = self["side"] <= Side.HELDOUT
        return chosen

    @property
    def pairs(self) -> Column:
        """A hash of each row's prompt with its answer."""
        hashed: Column = self["prompt"] * _GOLDEN + self["answer"]
        return hashed


def hash64(text: str) -> int:
    """64 bits for a text. Of a million texts two have the same with a probability of 3e-8."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def different(column: Column) -> int:
    """How many values there are."""
    return len(np.unique(column))


def duplicates(table: Table) -> Column:
    """Which rows repeat an earlier row's prompt and answer."""
    _, first = np.unique(table.pairs, return_index=True)
    repeats = np.ones(len(table), dtype=bool)
    repeats[first] = False
    return repeats


def conflicts(table: Table) -> Column:
    """Hashes of prompts that occur with different answers."""
    _, first = np.unique(table.pairs, return_index=True)
    prompts, answers = np.unique(table["prompt"][first], return_counts=True)
    conflicting: Column = prompts[answers > 1]
    return conflicting


def trained(table: Table) -> tuple[int, int]:
    """Tokens of the training side that carry labels, and all of them."""
    train = table.on(Side.TRAIN)
    return int(table["labels"][train].sum()), int(table["tokens"][train].sum())


def shared_answers(table: Table) -> Column:
    """Which held-out rows have an answer that was also trained on, under another prompt."""
    return table.on(Side.HELDOUT) & np.isin(table["answer"], table["answer"][table.on(Side.TRAIN)])


def lengths(counts: Column) -> TokenLengths:
    """Distribution of lengths in tokens."""
    ordered = np.sort(counts)
    return TokenLengths(
        min=int(ordered[0]),
        median=int(ordered[(len(ordered) - 1) // 2]),
        p95=int(ordered[(len(ordered) * 95 - 1) // 100]),
        max=int(ordered[-1]),
    )
