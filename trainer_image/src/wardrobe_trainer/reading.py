"""Reading a dataset's file, whatever its format: a row at a time."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wardrobe_contracts.datasets import Columns, FileFormat
from wardrobe_contracts.exits import Reason

from .dataset import FIELD, Fault, Faults, Row
from .layouts import parse_row
from .problems import TaskError, bad_data, listed
from .readers import READERS
from .readers.line import Line


@dataclass(frozen=True)
class DataFile:
    """A file of rows, and how to read it."""

    path: Path
    source: str
    """As the person wrote it, for messages."""
    file_format: FileFormat = FileFormat.JSONL
    columns: Columns | None = None
    field: str = FIELD
    """Which names the source."""


def read_rows(path: Path, source: str) -> list[Row]:
    """All rows of JSON Lines at once. Raises TaskError where the file or any row is not as it must be."""
    faults, rows, read = Faults(), [], 0
    for line in stream(DataFile(path, source)):
        read += 1
        item = line if isinstance(line, Fault) else parse_row(line.number, line.text)
        rows.append(item) if isinstance(item, Row) else faults.add(item)
    faults.raise_any(read)
    return rows


def stream(file: DataFile) -> Iterator[Line | Fault]:
    """The rows of a file, one at a time, not yet parsed. Raises TaskError where it is empty or cannot be read."""
    empty = True
    try:
        if not file.path.is_file():
            raise _not_found(file)
        for item in READERS[file.file_format](file.path, file.source, file.columns):
            empty = False
            yield item
    except PermissionError as error:
        raise _not_readable(file) from error
    except TaskError as error:
        raise at(file.field, error) from error
    if empty:
        raise bad_data(
            Reason.DATASET_EMPTY,
            field=file.field,
            value=file.source,
            rule=f"the file has {file.path.stat().st_size} bytes and no row",
            next_step="Put at least one conversation into it; a few hundred make a useful adapter",
        )


def at(field: str, error: TaskError) -> TaskError:
    """The same of the file that another field names than the dataset's."""
    problem = error.problem
    named = problem.model_copy(update={"field": field}) if problem.field == FIELD else problem
    return TaskError(error.code, error.reason, named)


def _not_found(file: DataFile) -> TaskError:
    folder = file.path.parent
    near = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    visible = [name for name in near if not name.startswith("..")]  # a ConfigMap's volume has `..data`
    return bad_data(
        Reason.DATASET_NOT_FOUND,
        field=file.field,
        value=file.source,
        rule=f"there is no such file; its folder holds: {listed(visible) or 'nothing'}",
        next_step="Correct the path, or copy the file to where it should be",
    )


def _not_readable(file: DataFile) -> TaskError:
    return bad_data(
        Reason.DATASET_NOT_FOUND,
        field=file.field,
        value=file.source,
        rule=f"user {os.getuid()}, as which Wardrobe's pods run, may not read the file",
        next_step="Make file and folders readable for that user, for example with chmod -R a+rX",
    )
