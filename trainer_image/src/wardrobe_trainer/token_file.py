"""Rows as tokens and labels in one file: the check writes it once, and training reads its rows where they lie.

Little-endian: the number of rows and of words (64 bits each), the words (32 bits: a token, and in the highest bit
whether it carries a label), nothing or 4 bytes to fill up to 8, and of each row where its words end (64 bits).
"""

import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, overload

import numpy as np

from .files import durably
from .tokens import IGNORED, Encoded

_HEADER = struct.Struct("<QQ")
_LABELLED = np.uint32(1 << 31)

Words = np.ndarray[Any, np.dtype[np.uint32]]


class Example(TypedDict):
    """A row as tokens and labels, of equal length."""

    input_ids: list[int]
    labels: list[int]


class TokenWriter:
    """Writes rows one after another and keeps 8 bytes of each in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ends = array("Q")
        self._words = 0
        file.write(_HEADER.pack(0, 0))

    def add(self, encoded: Encoded) -> None:
        """One row, truncated as it will be trained on."""
        words = np.array(encoded.ids, dtype="<u4")
        for start, end in encoded.answers:
            words[start:end] |= _LABELLED
        self.add_words(words)

    def add_words(self, words: Words) -> None:
        """One row as another file has it."""
        self._file.write(words.tobytes())
        self._words += len(words)
        self._ends.append(self._words)

    def finish(self) -> None:
        """Write what is known only now."""
        self._file.write(bytes(4 * (self._words % 2)))
        self._file.write(np.frombuffer(self._ends, dtype=np.uint64).astype("<u8").tobytes())
        self._file.seek(0)
        self._file.write(_HEADER.pack(len(self._ends), self._words))


@contextmanager
def token_file(path: Path) -> Iterator[TokenWriter]:
    """A file that is there, whole and on disk, once the block has ended well. Raises OSError."""
    with durably(path) as file:
        writer = TokenWriter(file)
        yield writer
        writer.finish()


class TokenFile(Sequence[Example]):
    """The rows of a file whose digest is known to be right.

    Each row is mapped by itself, when it is asked for: the pages of a map that stays would be counted as the process's
    memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            rows, words = _HEADER.unpack(file.read(_HEADER.size))
        after = _HEADER.size + 4 * (words + words % 2)
        self._ends = np.memmap(path, dtype="<u8", mode="r", offset=after, shape=(rows,))

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
        ids = (words & ~_LABELLED).astype(np.int64)
        labels = np.where(words & _LABELLED, ids, IGNORED)
        return {"input_ids": ids.tolist(), "labels": labels.tolist()}

    def words(self, index: int) -> Words:
        """One row as it stands in the file."""
        begin, end = int(self._ends[index - 1]) if index else 0, int(self._ends[index])
        offset = _HEADER.size + 4 * begin
        return np.memmap(self._path, dtype="<u4", mode="r", offset=offset, shape=(end - begin,))

    def stream(self) -> Iterator[Words]:
        """All rows as they stand in the file, one after another."""
        with self._path.open("rb") as file:
            file.seek(_HEADER.size)
            for length in self.lengths:
                yield np.frombuffer(file.read(4 * length), dtype="<u4")

    @property
    def lengths(self) -> "array[int]":
        """Tokens of each row."""
        lengths: array[int] = array("i")
        lengths.frombytes(np.diff(self._ends, prepend=np.uint64(0)).astype(np.intc).tobytes())
        return lengths
