"""Parquet, by pyarrow: a few rows of the wanted columns at a time."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardrobe_contracts.datasets import Columns

from ..dataset import ROW_LIMIT, Fault, too_long
from ..layouts import COLUMNS
from ..problems import TaskError
from .line import Line, malformed
from .table import chosen

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
    from pyarrow import parquet

AT_ONCE = 64
"""Rows."""
READ_AT_ONCE = 2**20
"""Bytes of a column."""
GROUP_LIMIT = 2**30
"""Bytes of a column in one row group. A page is decompressed as a whole, and may be all of that."""


def read(path: Path, source: str, columns: Columns | None, group_limit: int = GROUP_LIMIT) -> Iterator[Line | Fault]:
    """AT_ONCE rows in memory, and the pages they are in. Raises TaskError where the file is not whole, or lacks a
    column."""
    import pyarrow as pa  # noqa: PLC0415  some 100 ms and 50 MB, which other formats need not pay
    from pyarrow import parquet  # noqa: PLC0415

    number = 0
    try:
        with parquet.ParquetFile(path, buffer_size=READ_AT_ONCE, pre_buffer=False) as file:
            wanted = chosen(file.schema_arrow.names, columns, source)
            _require_types(file.schema_arrow, wanted, columns, source)
            for group in range(file.num_row_groups):
                if _is_too_long(file, group, wanted, source, group_limit):
                    yield too_long(number + 1)
                    number += file.metadata.row_group(group).num_rows
                    continue
                for batch in file.iter_batches(AT_ONCE, [group], wanted, use_threads=False):
                    yield from _lines(batch, number)
                    number += batch.num_rows
    except pa.ArrowException as error:
        raise _broken(source) from error
    except UnicodeDecodeError as error:
        rule = f"a text after row {number} is not UTF-8"
        raise malformed(source, rule, "Write the texts of the file as UTF-8") from error
    except OSError as error:
        if error.errno is not None:  # the volume's, not the file's
            raise
        raise _broken(source) from error


def _broken(source: str) -> TaskError:
    rule = "the file must be whole Parquet: its magic bytes, footer or pages are damaged, or it is another format"
    return malformed(source, rule, "Write it again, or set spec.dataset.format to what it is")


def _is_too_long(file: "parquet.ParquetFile", group: int, wanted: Sequence[str], source: str, limit: int) -> bool:
    """Whether a row of the group must be, by what the footer says. Raises TaskError."""
    found = file.metadata.row_group(group)
    chunks = (found.column(place) for place in range(found.num_columns))
    sizes = [one.total_uncompressed_size for one in chunks if one.path_in_schema.split(".")[0] in wanted]
    if max(sizes) > max(1, found.num_rows) * ROW_LIMIT:
        return True
    if max(sizes) > limit:
        rule = f"a row group has at most {limit} bytes of a column, and number {group + 1} has {max(sizes)}"
        raise malformed(source, rule, "Write the file with smaller row groups, of some 10,000 rows")
    return False


def _require_types(schema: "pa.Schema", wanted: Sequence[str], columns: Columns | None, source: str) -> None:
    """A column is of texts, or of lists of messages. Raises TaskError."""
    conversations = (columns or Columns(messages="messages")).messages
    for name in wanted:
        found = schema.field(name).type
        if name == conversations:
            fits, rule = _are_messages(found), "a list of structs with the texts role and content"
        else:
            fits, rule = _is_text(found), "text (string)"
        if not fits:
            held = next((f".{held}" for held, given in columns.given.items() if given == name), "") if columns else ""
            raise malformed(
                f"column {name!r}" if columns else f"column {name} of {source}",
                f"it must be of type {rule}, and is of type {str(found)[:80]}",
                "Write the column anew, or name another one",
                f"{COLUMNS}{held}",
            )


def _is_text(found: "pa.DataType") -> bool:
    from pyarrow import types  # noqa: PLC0415

    return bool(types.is_string(found) or types.is_large_string(found) or types.is_string_view(found))


def _are_messages(found: "pa.DataType") -> bool:
    from pyarrow import types  # noqa: PLC0415

    if not (types.is_list(found) or types.is_large_list(found)) or not types.is_struct(found.value_type):
        return False
    inside = {field.name: field.type for field in found.value_type}
    return all(name in inside and _is_text(inside[name]) for name in ("role", "content"))


def _lines(batch: "pa.RecordBatch", before: int) -> Iterator[Line | Fault]:
    """Rows as JSON; those that are too long are not even made Python's."""
    number, whole = before, batch.nbytes <= ROW_LIMIT
    for part in [batch] if whole else (batch.slice(place, 1) for place in range(batch.num_rows)):
        if part.nbytes > ROW_LIMIT:
            number += 1
            yield too_long(number)
            continue
        for value in part.to_pylist():
            number += 1
            yield Line(number, json.dumps(_without_null(value), default=str, ensure_ascii=False))


def _without_null(value: dict[str, Any]) -> dict[str, Any]:
    """A key that some messages have is a field of all of them here: null where it is not."""
    return {name: _messages(held) if isinstance(held, list) else held for name, held in value.items()}


def _messages(found: list[Any]) -> list[Any]:
    wanted = ("role", "content")
    return [
        {name: held for name, held in message.items() if held is not None or name in wanted}
        if isinstance(message, dict)
        else message
        for message in found
    ]
