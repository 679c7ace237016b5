"""Examples as tokens and labels in one file: the check writes it once, and train and assess read them where they lie.

Little-endian: the number of examples and of words (64 bits each), the words (32 bits: a token, in the highest bit
whether it carries a label, and in the next whether it is of an answer's body, which is said of held-out ones), nothing
or 4 bytes to fill up to 8, of each example where its words end (64 bits), and which row it is of, from 0 (32 bits).
"""

import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, overload

import numpy as np

from .files import durably
from .tokens import IGNORED, Encoded

_HEADER = struct.Struct("<QQ")
_LABELLED, _BODY = np.uint32(1 << 31), np.uint32(1 << 30)
_TOKEN = np.uint32((1 << 30) - 1)

Words = np.ndarray[Any, np.dtype[np.uint32]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


Opened = Callable[[Path], AbstractContextManager[BinaryIO]]
"""How a file is begun."""


class Example(TypedDict):
    """Tokens and labels, of equal length."""

    input_ids: list[int]
    labels: list[int]


def words_of(encoded: Encoded) -> Words:
    """An example as it stands in a file."""
    words = np.array(encoded.ids, dtype="<u4")
    for start, end in encoded.answers:
        words[start:end] |= _LABELLED
    return words


def with_body(words: Words, body: Flags) -> Words:
    """The same with those of its labelled tokens marked that are of a body."""
    marked = words.copy()
    marked[np.flatnonzero(labelled(words))[body]] |= _BODY
    return marked


def labelled(words: Words) -> Flags:
    """Which tokens carry a label."""
    flags: Flags = (words & _LABELLED).astype(bool)
    return flags


def of_body(words: Words) -> Flags:
    """Which tokens are of a body."""
    flags: Flags = (words & _BODY).astype(bool)
    return flags


def tokens_of(words: Words) -> Words:
    """Without the marks."""
    return words & _TOKEN


class TokenWriter:
    """Writes examples one after another and keeps 12 bytes of each in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ends, self._rows = array("Q"), array("I")
        self._words = 0
        file.write(_HEADER.pack(0, 0))

    def add(self, words: Words, row: int) -> None:
        """One example of a row, truncated as it will be trained on."""
        self._file.write(words.tobytes())
        self._words += len(words)
        self._ends.append(self._words)
        self._rows.append(row)

    def finish(self) -> None:
        """Write what is known only now."""
        self._file.write(bytes(4 * (self._words % 2)))
        self._file.write(np.frombuffer(self._ends, dtype=np.uint64).astype("<u8").tobytes())
        self._file.write(np.frombuffer(self._rows, dtype=np.uint32).astype("<u4").tobytes())
        self._file.seek(0)
        self._file.write(_HEADER.pack(len(self._ends), self._words))


@contextmanager
def token_file(path: Path, opened: Opened = durably) -> Iterator[TokenWriter]:
    """A file that is whole once the block has ended well; unless opened otherwise, it is on disk then, and is not there
    before. Raises OSError."""
    with opened(path) as file:
        writer = TokenWriter(file)
        yield writer
        writer.finish()


class TokenFile(Sequence[Example]):
    """The examples of a file whose digest is known to be right.

    Each is mapped by itself, when it is asked for: the pages of a map that stays would be counted as the process's
    memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            rows, words = _HEADER.unpack(file.read(_HEADER.size))
        after = _HEADER.size + 4 * (words + words % 2)
        self._ends = np.memmap(path, dtype="<u8", mode="r", offset=after, shape=(rows,))
        self._after = after + 8 * rows

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        words = self.words(range(len(self))[index])
        ids = tokens_of(words).astype(np.int64)
        labels = np.where(labelled(words), ids, IGNORED)
        return {"input_ids": ids.tolist(), "labels": labels.tolist()}

    def words(self, index: int) -> Words:
        """One example as it stands in the file."""
        begin, end = int(self._ends[index - 1]) if index else 0, int(self._ends[index])
        offset = _HEADER.size + 4 * begin
        return np.memmap(self._path, dtype="<u4", mode="r", offset=offset, shape=(end - begin,))

    def stream(self) -> Iterator[Words]:
        """All examples as they stand in the file, one after another."""
        with self._path.open("rb") as file:
            file.seek(_HEADER.size)
            for length in self.lengths:
                yield np.frombuffer(file.read(4 * length), dtype="<u4")

    @property
    def lengths(self) -> "array[int]":
        """Tokens of each example."""
        lengths: array[int] = array("i")
        lengths.frombytes(np.diff(self._ends, prepend=np.uint64(0)).astype(np.intc).tobytes())
        return lengths

    @property
    def rows(self) -> Words:
        """Which row each example is of, in ascending order; not of files that older releases wrote."""
        return np.fromfile(self._path, dtype="<u4", count=len(self), offset=self._after)
