"""Each format comes to the same rows, and what is wrong with a file is said with field, value, rule and next step."""

import csv
import io
import json
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from wardrobe_contracts.datasets import Columns, FileFormat
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_trainer.dataset import ROW_LIMIT, TEXT, Fault, Faults, Row
from wardrobe_trainer.layouts import kept_messages, parse_row
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.readers import format_of, json_array, parquet_rows
from wardrobe_trainer.reading import DataFile, stream

JSONL, JSON, CSV, PARQUET = FileFormat
MESSAGES = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
CHAT = {"messages": MESSAGES}
TURN = {"prompt": "Why?", "completion": "Because."}
PLAIN = {"text": "The ward is on the second floor."}


def write(path: Path, file_format: FileFormat, rows: list[dict[str, Any]], **settings: Any) -> Path:
    """A file of rows, all of which have the same keys."""
    match file_format:
        case FileFormat.JSONL:
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        case FileFormat.JSON:
            path.write_text(json.dumps(rows, **settings))
        case FileFormat.CSV:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                for row in rows:
                    writer.writerow({key: as_cell(value) for key, value in row.items()})
        case FileFormat.PARQUET:
            parquet.write_table(pa.Table.from_pylist(rows), path, **settings)
    return path


def as_cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read(path: Path, file_format: FileFormat, columns: Columns | None = None) -> list[Row | Fault]:
    file = DataFile(path, f"pvc://data/{path.name}", file_format, columns)
    return [line if isinstance(line, Fault) else parse_row(line.number, line.text, columns) for line in stream(file)]


def rows_of(path: Path, file_format: FileFormat, columns: Columns | None = None) -> list[Row]:
    found = read(path, file_format, columns)
    assert all(isinstance(row, Row) for row in found), found
    return [row for row in found if isinstance(row, Row)]


def refusal(path: Path, file_format: FileFormat, columns: Columns | None = None) -> TaskError:
    """Of the file, or of its rows."""
    with pytest.raises(TaskError) as caught:
        _raise_any(read(path, file_format, columns))
    assert caught.value.code is ExitCode.BAD_DATA
    return caught.value


def _raise_any(found: list[Row | Fault]) -> None:
    faults = Faults()
    for row in found:
        if isinstance(row, Fault):
            faults.add(row)
    faults.raise_any(len(found))


@pytest.mark.parametrize("file_format", FileFormat)
@pytest.mark.parametrize("layout", [CHAT, TURN, PLAIN], ids=lambda row: next(iter(row)))
def test_every_layout_in_every_format(tmp_path: Path, file_format: FileFormat, layout: dict[str, Any]) -> None:
    [first, second] = rows_of(write(tmp_path / "x", file_format, [layout, layout]), file_format)
    wanted = [{"role": TEXT, "content": PLAIN["text"]}] if layout is PLAIN else MESSAGES
    assert first.messages == second.messages == wanted
    assert kept_messages(first.line.encode()) == wanted


@pytest.mark.parametrize("file_format", FileFormat)
@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"id": "7", "chat": MESSAGES, "text": "not read"}, Columns(messages="chat")),
        ({"question": "Why?", "id": "7", "answer": "Because."}, Columns(prompt="question", completion="answer")),
        ({"messages": "not read", "body": PLAIN["text"]}, Columns(text="body")),
    ],
)
def test_columns_by_other_names(tmp_path: Path, file_format: FileFormat, row: dict[str, Any], columns: Columns) -> None:
    [found] = rows_of(write(tmp_path / "x", file_format, [row]), file_format, columns)
    wanted = [{"role": TEXT, "content": PLAIN["text"]}] if columns.text else MESSAGES
    assert found.messages == kept_messages(found.line.encode()) == wanted
    assert "not read" not in found.line


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(lambda text: bool(text.strip()))


@settings(deadline=None)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5), indent=st.sampled_from([None, 0, 2]))
def test_all_formats_come_to_the_same_rows(rows: list[tuple[str, str]], indent: int | None) -> None:
    """Whatever stands in them: quotes, commas, brackets, line ends."""
    values = [{"prompt": prompt, "completion": completion} for prompt, completion in rows]
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for file_format in FileFormat:
            settings = {"indent": indent} if file_format is JSON else {}
            path = write(Path(folder) / file_format, file_format, values, **settings)
            found[file_format] = [row.messages for row in rows_of(path, file_format)]
    wanted = [[{"role": "user", "content": one}, {"role": "assistant", "content": other}] for one, other in rows]
    assert found == dict.fromkeys(FileFormat, wanted)


@given(
    rows=st.lists(st.recursive(st.none() | st.text(max_size=5), lambda one: st.lists(one, max_size=3)), max_size=4),
    chunk=st.integers(1, 9),
    indent=st.sampled_from([None, 1]),
)
def test_an_array_is_taken_apart_wherever_its_chunks_end(rows: list[Any], chunk: int, indent: int | None) -> None:
    text = json.dumps(rows, indent=indent).encode()
    found = [data for _, data in json_array.rows(io.BytesIO(text), "x", 1, chunk)]
    assert [json.loads(data) for data in found if data is not None] == rows


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pvc://data/x.jsonl", JSONL),
        ("pvc://data/x.JSON", JSON),
        ("s3://bucket/a.b/x.csv", CSV),
        ("hf://datasets/a/b@0/x.parquet", PARQUET),
        ("configmap://data/train", JSONL),
    ],
)
def test_the_format_by_the_files_name(name: str, found: FileFormat) -> None:
    assert format_of(name) is found


def test_rows_of_a_csv_are_counted_as_a_spreadsheet_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('prompt,completion\n"a\nb",c\n\nd,e,f\n')
    [first, second] = read(path, CSV)
    assert isinstance(first, Row)
    assert (first.number, first.messages[0]["content"]) == (2, "a\nb")
    assert isinstance(second, Fault)
    assert (second.number, second.found) == (4, "3 fields")


def test_a_byte_order_mark_is_no_part_of_a_columns_name(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("\ufeffprompt,completion\r\nWhy?,Because.\r\n".encode())
    assert rows_of(path, CSV)[0].messages == MESSAGES


def test_keys_that_only_some_messages_have_are_null_in_parquet(tmp_path: Path) -> None:
    """A column of structs has each key in all of them."""
    named = [{**MESSAGES[0], "name": "Ann"}, MESSAGES[1]]
    path = write(tmp_path / "x", PARQUET, [CHAT, {"messages": named}])
    [first, second] = read(path, PARQUET)
    assert isinstance(first, Row)
    assert isinstance(second, Fault)
    assert second.found == "message 1 has 1 other keys"


NO_LAYOUT = "must have a column messages, or prompt and completion, or text"
COLUMN_FAULTS: list[tuple[dict[str, Any], Columns | None, str, str]] = [
    ({"question": "a", "answer": "b"}, None, "", f"{NO_LAYOUT}; it has question, answer"),
    ({**TURN, "id": "1"}, None, "", "besides prompt and completion a file has source and metadata at most"),
    ({**TURN, "text": "b"}, None, "", f"{NO_LAYOUT}; it has prompt, completion, text"),
    (TURN, Columns(prompt="prompt", completion="answer"), ".completion", "it has prompt, completion"),
    ({"a secret question of somebody": "b"}, Columns(text="c"), ".text", "it has 1 whose names are not plain"),
]


@pytest.mark.parametrize("file_format", [CSV, PARQUET])
@pytest.mark.parametrize("fault", COLUMN_FAULTS)
def test_columns_that_are_not_there(
    tmp_path: Path, file_format: FileFormat, fault: tuple[dict[str, Any], Columns | None, str, str]
) -> None:
    row, columns, field, rule = fault
    error = refusal(write(tmp_path / "x", file_format, [row]), file_format, columns)
    assert (error.reason, error.problem.field) == (Reason.DATASET_MALFORMED, f"spec.dataset.columns{field}")
    assert rule in error.problem.rule
    assert ("Correct the name" if columns else "Name the columns to read") in error.problem.next_step
    assert "secret" not in str(error), "a table without its first row begins with somebody's words"


@pytest.mark.parametrize("file_format", [JSONL, JSON])
def test_a_key_that_a_row_lacks(tmp_path: Path, file_format: FileFormat) -> None:
    path = write(tmp_path / "x", file_format, [{"question": "a", "answer": "b"}, {"question": "a"}])
    error = refusal(path, file_format, Columns(prompt="question", completion="answer"))
    assert error.problem.field == "spec.dataset.columns.completion"
    assert error.problem.value == "row 2: there is no completion"
    assert "the key 'answer'" in error.problem.rule


@pytest.mark.parametrize(
    ("column", "columns", "field"),
    [
        (pa.array([7]), None, "spec.dataset.columns"),
        (pa.array([b"bytes"]), Columns(text="text"), "spec.dataset.columns.text"),
        (pa.array([["a", "b"]]), Columns(messages="text"), "spec.dataset.columns.messages"),
        (pa.array([[{"role": "user", "content": 7}]]), Columns(messages="text"), "spec.dataset.columns.messages"),
    ],
)
def test_a_column_of_another_type(tmp_path: Path, column: Any, columns: Columns | None, field: str) -> None:
    parquet.write_table(pa.table({"text": column}), tmp_path / "x")
    error = refusal(tmp_path / "x", PARQUET, columns)
    assert (error.reason, error.problem.field) == (Reason.DATASET_MALFORMED, field)
    assert f"and is of type {str(column.type)[:4]}" in error.problem.rule


def test_texts_of_other_types_in_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "x", JSON, [PLAIN, {"text": 7}, {"text": None}])
    error = refusal(path, JSON)
    assert error.problem.value == "row 2: the text is no text"
    assert "2 of 3 rows break this: 2, 3" in error.problem.rule


def cut_in_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def without_footer(data: bytes) -> bytes:
    return data[:-40]


def with_damaged_pages(data: bytes) -> bytes:
    return data[:4] + bytes(200) + data[204:]


def of_another_format(_: bytes) -> bytes:
    return b'{"text": "a"}\n' * 20


@pytest.mark.parametrize("damage", [cut_in_half, without_footer, with_damaged_pages, of_another_format])
def test_a_parquet_file_that_is_not_whole(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path / "x", PARQUET, [{"text": f"row {number}"} for number in range(200)])
    path.write_bytes(damage(path.read_bytes()))
    error = refusal(path, PARQUET)
    assert (error.reason, error.problem.field) == (Reason.DATASET_MALFORMED, "spec.dataset.source")
    assert error.problem.value == "pvc://data/x"
    assert "must be whole Parquet" in error.problem.rule


@pytest.mark.parametrize(
    ("text", "rule", "next_step"),
    [
        ('{"text": "a"}\n{"text": "b"}\n', "must be one array of rows", "set spec.dataset.format to JSONL"),
        ('[{"text": "a"}', "the file ends before it does", "Write the file again"),
        ('[{"text": "a', "the file ends before it does", "Write the file again"),
        ('[{"text": "a"}] [', "something follows it", "one array"),
    ],
)
def test_a_json_file_that_is_no_array(tmp_path: Path, text: str, rule: str, next_step: str) -> None:
    (tmp_path / "x").write_text(text)
    error = refusal(tmp_path / "x", JSON)
    assert rule in error.problem.rule
    assert next_step in error.problem.next_step


@pytest.mark.parametrize("text", ["[1, {]}]", '[{"text": "a"},]', '[{"text": "a\n"}]'])
def test_a_row_of_an_array_that_is_no_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    assert refusal(tmp_path / "x", JSON).reason is Reason.DATASET_MALFORMED


@pytest.mark.parametrize(
    ("text", "rule"),
    [('text\n"a" b\n', "row 2 must be CSV"), ('text\na\n"b\n', "row 3 must be CSV")],
)
def test_a_csv_file_with_a_quote_too_many(tmp_path: Path, text: str, rule: str) -> None:
    (tmp_path / "x").write_text(text)
    error = refusal(tmp_path / "x", CSV)
    assert rule in error.problem.rule
    assert "quotes" in error.problem.next_step


@pytest.mark.parametrize("file_format", FileFormat)
def test_a_file_without_rows(tmp_path: Path, file_format: FileFormat) -> None:
    path = tmp_path / "x"
    match file_format:
        case FileFormat.JSON:
            path.write_text(" [ ] \n")
        case FileFormat.CSV:
            path.write_text("prompt,completion\n")
        case FileFormat.PARQUET:
            parquet.write_table(pa.table({"text": pa.array([], pa.string())}), path)
        case _:
            path.write_text("\n")
    assert refusal(path, file_format).reason is Reason.DATASET_EMPTY


def endless(path: Path, begin: bytes, end: bytes) -> Path:
    """A quarter of a gigabyte between two texts, of which the disk holds nothing."""
    with path.open("wb") as file:
        file.write(begin)
        file.seek(2**28, io.SEEK_CUR)
        file.write(end)
    return path


@pytest.mark.parametrize(
    ("file_format", "begin", "end", "said"),
    [
        (JSON, b'[{"text": "', b'"}, {"text": "b"}]', "1 of 2 rows break this: 1"),
        (JSON, b'[{"text": "a"}, {', b"}]", "1 of 2 rows break this: 2"),
        (CSV, b"text\n", b"\n", "row 2 is longer than"),
        (CSV, b'text\na\n"', b'"\n', "row 3 is longer than"),
        (CSV, b"", b"\n", "row 1 is longer than"),
    ],
)
def test_a_row_without_end_takes_no_memory(
    tmp_path: Path, file_format: FileFormat, begin: bytes, end: bytes, said: str
) -> None:
    path = endless(tmp_path / "x", begin, end)
    tracemalloc.start()
    error = refusal(path, file_format)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said in error.problem.rule
    assert peak < 6 * ROW_LIMIT


def test_a_long_row_among_others_in_parquet(tmp_path: Path) -> None:
    long = {"text": "a" * (ROW_LIMIT + 1)}
    path = write(tmp_path / "x", PARQUET, [PLAIN] * 70 + [long] + [PLAIN] * 10)
    error = refusal(path, PARQUET)
    assert "1 of 81 rows break this: 71" in error.problem.rule


def test_a_row_group_that_must_have_a_long_row_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x", PARQUET, [PLAIN, {"text": "a" * (2 * ROW_LIMIT + 1)}], row_group_size=1)
    batches, groups = parquet.ParquetFile.iter_batches, []

    def noted(file: Any, size: int, of: list[int], *given: Any, **more: Any) -> Any:
        groups.append(of)
        return batches(file, size, of, *given, **more)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", noted)
    error = refusal(path, PARQUET)
    assert "rows break this: 2" in error.problem.rule
    assert groups == [[0]]


def test_a_row_group_too_large_to_be_read_safely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x", PARQUET, [PLAIN] * 5)
    error = refusal_of_groups(path, limit=8)
    assert "a row group has at most 8 bytes" in error.problem.rule
    assert "smaller row groups" in error.problem.next_step


def refusal_of_groups(path: Path, limit: int) -> TaskError:
    with pytest.raises(TaskError) as caught:
        list(parquet_rows.read(path, "pvc://data/x", None, limit))
    return caught.value


@pytest.mark.parametrize(
    ("file_format", "data"),
    [(JSON, b'[{"messages": '), (JSONL, b"\xff\xfe"), (CSV, b"\xff\xfe"), (PARQUET, b"PAR1 and no more")],
)
def test_what_is_wrong_with_a_held_out_file_is_said_of_its_own_field(
    tmp_path: Path, file_format: FileFormat, data: bytes
) -> None:
    file = tmp_path / "heldout"
    file.write_bytes(data)
    with pytest.raises(TaskError) as caught:
        list(stream(DataFile(file, "pvc://data/heldout", file_format, field="spec.dataset.validation.source")))
    assert caught.value.problem.field == "spec.dataset.validation.source"
