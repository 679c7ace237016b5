"""JSON: one array of objects, however it is laid out. It is taken apart by its brackets, a row at a time."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from wardrobe_contracts.datasets import Columns

from ..dataset import ROW_LIMIT, Fault, too_long
from ..problems import TaskError
from .line import Line, decoded, malformed

CHUNK = 2**16
_OUTSIDE = re.compile(rb'["\[\]{},]')
"""What matters where no string is open."""
_INSIDE = re.compile(rb'["\\]')
_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")


def read(path: Path, source: str, _: Columns | None) -> Iterator[Line | Fault]:
    """One row at a time in memory, and of one that is too long a part. Raises TaskError where the file is no array."""
    with path.open("rb") as file:
        begin = _begin(file, source)
        if begin is None:
            return
        for number, (start, data) in enumerate(rows(file, source, begin), 1):
            yield too_long(number) if data is None else Line(number, decoded(data, number, start, source))


def _begin(file: BinaryIO, source: str) -> int | None:
    """Where the first row begins; None in a blank file. Raises TaskError."""
    while chunk := file.read(CHUNK):
        start = file.tell() - len(chunk)
        plain = (chunk.removeprefix(b"\xef\xbb\xbf") if start == 0 else chunk).lstrip()
        if plain and not plain.startswith(b"["):
            raise malformed(
                source,
                "a JSON file must be one array of rows, and begins otherwise",
                "Put the rows into [ ]; where each line is a row, set spec.dataset.format to JSONL",
                "spec.dataset.format",
            )
        if plain:
            return start + len(chunk) - len(plain) + 1
    return None


def rows(file: BinaryIO, source: str, begin: int, size: int = CHUNK) -> Iterator[tuple[int, bytes | None]]:
    """Where each row begins in the file, and its bytes; None for one that is too long. Raises TaskError."""
    file.seek(begin)
    row, depth, quoted, escaped, several = _Bytes(begin), 1, False, False, False
    while chunk := file.read(size):
        start = file.tell() - len(chunk)
        taken, place, escaped = 0, int(escaped), False
        while found := (_INSIDE if quoted else _OUTSIDE).search(chunk, place):
            mark, place = found.group(), found.end()
            if mark == b"\\":
                escaped = place == len(chunk)
                place += 1
            elif mark == b'"':
                quoted = not quoted
            elif mark in _OPENING:
                depth += 1
            elif mark in _CLOSING:
                depth -= 1
            if depth == 0 or (depth == 1 and mark == b","):
                row.add(chunk[taken : found.start()])
                if depth or several or not row.blank:
                    yield row.start, row.data
                if depth == 0:
                    _require_end(file, chunk[place:], source)
                    return
                several, taken, row = True, place, _Bytes(start + place)
        row.add(chunk[taken:])
    raise _cut_off(source)


class _Bytes:
    """Of a row, as far as it is read."""

    def __init__(self, start: int) -> None:
        self.start = start
        self._parts = bytearray()
        self._size = 0

    def add(self, part: bytes) -> None:
        """What comes next; of a row that is too long, nothing is kept."""
        self._size += len(part)
        if self._size > ROW_LIMIT:
            self._parts.clear()
        else:
            self._parts += part

    @property
    def data(self) -> bytes | None:
        """None where it is too long."""
        return None if self._size > ROW_LIMIT else bytes(self._parts)

    @property
    def blank(self) -> bool:
        """Whether there is nothing yet."""
        return self._size <= ROW_LIMIT and not self._parts.strip()


def _require_end(file: BinaryIO, rest: bytes, source: str) -> None:
    """Nothing but white space may follow the array. Raises TaskError."""
    while rest:
        if rest.strip():
            rule = "a JSON file must be one array of rows, and something follows it"
            raise malformed(source, rule, "Put all rows into one array, or write JSON Lines")
        rest = file.read(CHUNK)


def _cut_off(source: str) -> TaskError:
    rule = "a JSON file must be one whole array, and the file ends before it does"
    return malformed(source, rule, "Write the file again, to its closing ]")
