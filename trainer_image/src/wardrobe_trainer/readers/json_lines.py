"""JSON Lines: an object on each line. Blank lines are no rows."""

from collections.abc import Iterator
from pathlib import Path

from wardrobe_contracts.datasets import Columns

from ..dataset import ROW_LIMIT, Fault, too_long
from .line import Line, decoded


def read(path: Path, source: str, _: Columns | None) -> Iterator[Line | Fault]:
    """One line at a time in memory, and of one that is too long a part. Raises TaskError where one is no text."""
    number = 0
    with path.open("rb") as file:
        while data := file.readline(ROW_LIMIT + 1):
            number += 1
            if len(data) > ROW_LIMIT:
                while not data.endswith(b"\n") and (data := file.readline(ROW_LIMIT)):
                    pass
                yield too_long(number)
                continue
            text = decoded(data, number, file.tell() - len(data), source).removesuffix("\n")
            if text.strip():
                yield Line(number, text)
