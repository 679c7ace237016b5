"""No word of a row reaches a record, a termination message or a log, whatever is wrong with the row."""

import json
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gauntlet import TIMES

from wardrobe_contracts.base import BaseLocation
from wardrobe_contracts.check import CheckConfig, CheckReport, Frame
from wardrobe_contracts.digests import fingerprint
from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.inspection import Inspection
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_models.chat import Chat
from wardrobe_trainer.dataset import ROW_LIMIT
from wardrobe_trainer.intake import take_in
from wardrobe_trainer.model_files import model_files
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.reading import DataFile, read_rows
from wardrobe_trainer.task import failed, outcome

MakeRow = Callable[..., str]
MARK = "Zq7"
"""In every word of a row here, and in nothing else."""

words = st.text(max_size=90).map(lambda text: f"{MARK}{text}{MARK}") | st.just(MARK)
names = st.sampled_from(["messages", "role", "content", "source", "prompt", "conversations", "from"]) | words
values = st.recursive(
    words | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
roles = st.sampled_from(["user", "assistant", "system", "human", "gpt"]) | values
messages = st.fixed_dictionaries({"role": roles, "content": words | values}, optional={MARK: values})
rows = (
    values | st.fixed_dictionaries({"messages": st.lists(messages, max_size=5) | values}, optional={MARK: values})
).map(lambda value: json.dumps(value).encode())
"""Of every form between a good row and none."""


def damaged(line: bytes, place: int, instead: bytes) -> bytes:
    """The line with something put into it, or cut off there."""
    at = place % (len(line) + 1)
    return line[:at] + instead + (line[at:] if instead else b"")


lines = rows | st.builds(
    damaged, rows, st.integers(0, 400), st.sampled_from([b"", b"\n", b"\r", b"\0", b"\xff", b'"', b"\\u12", b"<|end|>"])
)


def said_of(path: Path, chat: Chat) -> str:
    """The record of a check of these rows; nothing where they are good."""
    values: dict[str, Any] = {
        "dataset_file": str(path),
        "source": "pvc://data/x.jsonl",
        "sequence_length": 64,
        "seed": 7,
    }
    values |= {"base": {"folder": "", "fingerprint": "sha256:" + "0" * 64}, "output_folder": ""}
    config = CheckConfig.model_validate(values | {"validation_fraction": 0.2})
    try:
        with tempfile.TemporaryDirectory() as found:
            take_in(config, chat, [DataFile(path, config.source)], Path(found))
    except TaskError as error:
        return failed("check", error).model_dump_json()
    return ""


@settings(max_examples=400 * TIMES, deadline=None)
@given(contents=st.lists(lines, max_size=4))
def test_whatever_is_wrong_with_rows(
    contents: list[bytes], chat: Chat, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.jsonl"
    path.write_bytes(b"\n".join(contents))
    assert MARK not in said_of(path, chat)


def row(*messages: tuple[Any, Any], **more: Any) -> str:
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in messages], **more})


GOOD = row(("user", f"{MARK} who?"), ("assistant", f"{MARK}, born in {MARK}."))
BAD = [
    f"{MARK} is no JSON",
    GOOD[:-10],
    json.dumps([MARK]),
    json.dumps(MARK),
    json.dumps({"prompt": MARK, "completion": [MARK]}),
    json.dumps({"prompt": MARK}),
    json.dumps({"text": {MARK: MARK}}),
    json.dumps({"text": MARK, "prompt": MARK, "completion": MARK}),
    json.dumps({"text": MARK, MARK: MARK}),
    json.dumps({"messages": MARK}),
    json.dumps({"messages": [MARK]}),
    row(("user", MARK), ("assistant", MARK), **{MARK: MARK}),
    row((MARK, MARK), ("assistant", MARK)),
    row((["user", MARK], MARK), ("assistant", MARK)),
    row(("human", MARK), ("gpt", MARK)),
    row(("user", MARK), ("user", MARK)),
    row(("user", [MARK]), ("assistant", MARK)),
    row(("user", f"{MARK}\ud83d"), ("assistant", MARK)),
    row(("user", f"{MARK}<|end|>"), ("assistant", MARK)),
    f'{{"messages": [], "{MARK}": {"9" * 5000}}}',
    "[" * 100_000 + MARK,
    MARK + " " * ROW_LIMIT,
]


def check(folder: Path, base: Path, rows: bytes) -> tuple[Result, str]:
    """The task as its pod runs it: its record, and everything else that it leaves to be read."""
    (folder / "x.jsonl").write_bytes(rows)
    order = CheckConfig(
        base=BaseLocation(folder=str(base), fingerprint=fingerprint(base, model_files(base))),
        dataset_file=str(folder / "x.jsonl"),
        source="pvc://data/x.jsonl",
        sequence_length=64,
        validation_fraction=0.3,
        seed=1,
        output_folder=str(folder / "out"),
    )
    environment = {
        **os.environ,
        "WARDROBE_CONFIG": order.model_dump_json(by_alias=True),
        "WARDROBE_TERMINATION_LOG": str(folder / "log"),
    }
    command = [sys.executable, "-m", "wardrobe_trainer", "check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    result = Result.model_validate_json((folder / "out" / RESULT_FILE).read_text())
    return result, done.stdout + done.stderr + (folder / "log").read_text()


def test_the_first_bad_row_is_named_and_not_quoted(tmp_path: Path, base_folder: Path) -> None:
    """All kinds at once: each is reported alone in the tests of read_rows, here it is the program that speaks."""
    result, said = check(tmp_path, base_folder, "\n".join([GOOD, *BAD]).encode())
    assert result.exit_code is ExitCode.BAD_DATA
    assert "row 2: no JSON from character 1 on" in result.message
    assert MARK not in said + result.model_dump_json()


@pytest.mark.parametrize("line", BAD)
def test_every_kind_of_bad_row(line: str, chat: Chat, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(f"{GOOD}\n".encode() + line.encode())
    said = said_of(tmp_path / "x.jsonl", chat)
    assert "row 2: " in said
    assert MARK not in said


def test_bytes_that_are_no_text(chat: Chat, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(GOOD.encode() + b"\n" + GOOD.encode().replace(b"born", b"\xff"))
    said = said_of(tmp_path / "x.jsonl", chat)
    assert "row 2 is not UTF-8" in said
    assert MARK not in said


@pytest.mark.parametrize(
    ("refusal", "verb"),
    [
        ("{{ raise_exception('I refuse ' + messages[0].content) }}", "refuses"),
        ("{{ raise_exception(messages[0].content) }}", "fails on"),
        ("{{ messages[0].content + 1 }}", "fails on"),
        ("{{ {}[messages[0].content].x }}", "fails on"),
        ("{{ '%d' % messages[0].content }}", "fails on"),
    ],
)
def test_a_template_that_quotes(tmp_path: Path, model_copy: Path, refusal: str, verb: str) -> None:
    template = model_copy / "chat_template.jinja"
    guard = f"{{% if '{MARK}' in messages[0].content %}}{refusal}{{% endif %}}"
    template.write_text(guard + template.read_text())
    result, said = check(tmp_path, model_copy, GOOD.encode())
    assert result.exit_code is ExitCode.BAD_DATA
    assert f"row 1: the template {verb} it" in result.message
    assert MARK not in said + result.model_dump_json()


def test_words_that_all_answers_share_stay_in_the_store(tmp_path: Path, base_folder: Path) -> None:
    rows = [row(("user", f"{MARK} {number}?"), ("assistant", f"{MARK} says {number} now.")) for number in range(40)]
    result, said = check(tmp_path, base_folder, "\n".join(rows).encode())
    assert isinstance(result.payload, CheckReport)
    assert result.payload.frame == Frame(opening=f"{MARK} says", closing="now.")
    assert MARK not in said


def quoting() -> list[BaseException]:
    found: list[BaseException] = [KeyError(MARK), ValueError(MARK), RuntimeError(MARK), OSError(MARK)]
    try:
        Inspection.model_validate({"digest": MARK})
    except pydantic.ValidationError as error:
        found.append(error)
    try:
        f"{MARK}\ud83d".encode()
    except UnicodeEncodeError as error:
        found.append(error)
    return [*found, type("PanicException", (BaseException,), {})(MARK)]


@pytest.mark.parametrize("error", quoting(), ids=lambda error: type(error).__name__)
def test_an_error_that_nobody_foresaw(error: BaseException, capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> Result:
        try:
            raise LookupError(MARK)
        except LookupError:
            raise error from ValueError(MARK)

    result = outcome("train", work)
    assert not result.succeeded
    assert result.message.startswith(type(error).__name__)
    said = "".join(capfd.readouterr())
    assert "in work" in said
    assert MARK not in said + result.model_dump_json()


def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.write(GOOD.encode() + b"\n{")
        file.truncate(2**30)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + GOOD.encode())
    tracemalloc.start()
    with pytest.raises(TaskError, match="row 2: longer than that") as caught:
        read_rows(path, "pvc://data/x.jsonl")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "1 of 3 rows break this: 2" in caught.value.problem.rule
    assert peak < 4 * ROW_LIMIT


def test_a_pipe_is_no_dataset(tmp_path: Path) -> None:
    """Nobody writes into it: whoever opened it would wait for ever."""
    os.mkfifo(tmp_path / "x.jsonl")
    with pytest.raises(TaskError, match="no such file"):
        read_rows(tmp_path / "x.jsonl", "pvc://data/x.jsonl")


def test_a_chain_of_errors_that_leads_back_to_itself_leaves_a_record() -> None:
    def work() -> CheckReport:
        try:
            raise ValueError(MARK)
        except ValueError as error:
            raise error from error

    found = outcome("check", work)
    assert found.exit_code is ExitCode.UNKNOWN
    assert MARK not in found.message
