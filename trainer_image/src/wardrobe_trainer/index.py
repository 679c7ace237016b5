"""What the check keeps of each row: numbers, 45 bytes of them, however long the row is, and two of these in memory."""

import hashlib
from array import array
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
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
CHANGING = ("side", "flags")
"""Those that stay in memory."""
_BLOCK = 2**14
"""Rows that are written at once."""
_PARTS = np.uint64(4)
"""Bits of hashes: of so many of them all values are sorted by themselves, for sorting takes 33 bytes a value."""

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
    """A table that grows row by row, in the order of the file, in files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._columns = {name: array(kind) for name, kind in COLUMNS.items()}
        for name in COLUMNS:
            _file(folder, name).write_bytes(b"")

    def add(self, row: tuple[int, ...]) -> None:
        """One row, in the order of COLUMNS."""
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        if len(self._columns["side"]) == _BLOCK:
            self._write()

    def table(self) -> "Table":
        """All rows; none can be added after that, and the folder must stay."""
        self._write()
        return Table(_Files(self._folder))

    def _write(self) -> None:
        for name, column in self._columns.items():
            with _file(self._folder, name).open("ab") as file:
                column.tofile(file)
            del column[:]


class _Files(dict[str, Column]):
    """Columns: those that change, and others as they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        super().__init__({name: self[name] for name in CHANGING})

    def __missing__(self, name: str) -> Column:
        return np.fromfile(_file(self._folder, name), dtype=COLUMNS[name])


def _file(folder: Path, name: str) -> Path:
    return folder / f"column-{name}"


class Table:
    """All rows of a dataset, in columns."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns["side"])

    def __getitem__(self, name: str) -> Column:
        """Of all rows. Only what is written into one of CHANGING stays written."""
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


def parts(hashes: Column) -> Iterator[Column]:
    """Places, in order, of a part of the hashes at a time: those of one value are in the same."""
    part = (hashes >> (np.uint64(64) - _PARTS)).astype(np.uint8)
    for number in range(1 << int(_PARTS)):
        yield np.flatnonzero(part == number)


def different(hashes: Column) -> int:
    """How many values there are."""
    return sum(len(np.unique(hashes[places])) for places in parts(hashes))


def among(hashes: Column, others: Column) -> Column:
    """Which of the hashes are among others."""
    found = np.zeros(len(hashes), dtype=bool)
    for places, there in zip(parts(hashes), parts(others), strict=True):
        found[places] = np.isin(hashes[places], others[there])
    return found


def duplicates(table: Table) -> Column:
    """Which rows repeat an earlier row's prompt and answer."""
    pairs, repeats = table.pairs, np.ones(len(table), dtype=bool)
    for places in parts(pairs):
        _, first = np.unique(pairs[places], return_index=True)
        repeats[places[first]] = False
    return repeats


def conflicts(table: Table) -> Column:
    """Hashes of prompts that occur with different answers."""
    found, all_prompts, pairs = [], table["prompt"], table.pairs
    for places in parts(all_prompts):
        _, first = np.unique(pairs[places], return_index=True)
        prompts, answers = np.unique(all_prompts[places[first]], return_counts=True)
        found.append(prompts[answers > 1])
    return np.concatenate(found)


def trained(table: Table) -> tuple[int, int]:
    """Tokens of the training side that carry labels, and all of them."""
    train = table.on(Side.TRAIN)
    return int(table["labels"][train].sum()), int(table["tokens"][train].sum())


def shared_answers(table: Table) -> Column:
    """Which held-out rows have an answer that was also trained on, under another prompt."""
    answers = table["answer"]
    return table.on(Side.HELDOUT) & among(answers, answers[table.on(Side.TRAIN)])


def lengths(counts: Column) -> TokenLengths:
    """Distribution of lengths in tokens."""
    ordered = np.sort(counts)
    return TokenLengths(
        min=int(ordered[0]),
        median=int(ordered[(len(ordered) - 1) // 2]),
        p95=int(ordered[(len(ordered) * 95 - 1) // 100]),
        max=int(ordered[-1]),
    )
