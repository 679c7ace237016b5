"""CSV (RFC 4180): fields separated by commas, with the columns' names in the first row.

Rows are counted as a spreadsheet shows them: the names are row 1. A conversation is the JSON of its messages in a cell.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from wardrobe_contracts.datasets import Columns
from wardrobe_contracts.exits import Reason

from ..dataset import ROW_LIMIT, Fault
from .line import Line, decoded, malformed
from .table import chosen


def read(path: Path, source: str, columns: Columns | None) -> Iterator[Line | Fault]:
    """One row at a time in memory. Raises TaskError where the file is no CSV, or lacks a column."""
    with path.open("rb") as file:
        lines = _Lines(file, source)
        rows = _parsed(lines, source)
        names = next(rows, None)
        if names is None:
            return
        wanted = {names.index(name): name for name in chosen(names, columns, source)}
        conversations = (columns or Columns(messages="messages")).messages
        for fields in rows:
            if len(fields) != len(names):
                yield _other_count(lines.row, len(fields), len(names))
            else:
                cells = {name: fields[place] for place, name in wanted.items()}
                value = {name: _opened(cell) if name == conversations else cell for name, cell in cells.items()}
                yield Line(lines.row, json.dumps(value, ensure_ascii=False))


def _parsed(lines: "_Lines", source: str) -> Iterator[list[str]]:
    """Rows as lists of fields, without blank ones. Raises TaskError."""
    csv.field_size_limit(ROW_LIMIT)
    rows = csv.reader(lines, strict=True)
    while True:
        lines.next_row()
        try:
            fields = next(rows, None)
        except csv.Error as error:  # its texts quote no field
            rule = f"row {lines.row} must be CSV (RFC 4180): {error}"
            hint = 'Quote fields that have commas, quotes or line ends, and write a quote in them as ""'
            raise malformed(source, rule, hint) from error
        if fields is None:
            return
        if fields:
            yield fields


class _Lines:
    """The lines of a file, whose rows may have several."""

    def __init__(self, file: BinaryIO, source: str) -> None:
        self._file, self._source = file, source
        self._taken = 0
        self.row = 0
        """Which one is read."""

    def next_row(self) -> None:
        """What is read from now on is another row."""
        self.row += 1
        self._taken = 0

    def __iter__(self) -> Iterator[str]:
        while data := self._file.readline(ROW_LIMIT + 1 - self._taken):
            self._taken += len(data)
            if self._taken > ROW_LIMIT:
                rule = f"row {self.row} is longer than {ROW_LIMIT} bytes"
                hint = "Cut what is longer; where a quote is open by mistake, close it before its row ends"
                raise malformed(self._source, rule, hint)
            yield decoded(data, self.row, self._file.tell() - len(data), self._source)


def _opened(cell: str) -> object:
    """The messages; what is no JSON stays text, which is said of a row as of any other."""
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _other_count(number: int, found: int, wanted: int) -> Fault:
    rule = f"a row must have as many fields as the first one names columns, {wanted}"
    hint = "Quote fields that have commas or line ends; separate fields by commas"
    return Fault(number, Reason.DATASET_MALFORMED, f"{found} fields", rule, hint)
