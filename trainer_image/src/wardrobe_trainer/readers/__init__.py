"""From a dataset's file to its rows as lines of JSON: one module for each format, which has one function."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from wardrobe_contracts.datasets import Columns, FileFormat

from ..dataset import Fault
from . import csv_rows, json_array, json_lines, parquet_rows
from .line import Line

Reader = Callable[[Path, str, Columns | None], Iterator[Line | Fault]]
READERS: Mapping[FileFormat, Reader] = {
    FileFormat.JSONL: json_lines.read,
    FileFormat.JSON: json_array.read,
    FileFormat.CSV: csv_rows.read,
    FileFormat.PARQUET: parquet_rows.read,
}
"""Each raises TaskError where the file as a whole is not as it must be, and gives a Fault for a row that is not."""
SUFFIXES: Mapping[str, FileFormat] = {
    ".json": FileFormat.JSON,
    ".csv": FileFormat.CSV,
    ".parquet": FileFormat.PARQUET,
}
"""All other names are JSON Lines'."""


def format_of(source: str) -> FileFormat:
    """By the name of the file, as `spec.dataset.source` has it."""
    return SUFFIXES.get(PurePosixPath(source).suffix.lower(), FileFormat.JSONL)
