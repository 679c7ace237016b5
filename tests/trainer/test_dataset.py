"""Every way in which a dataset can be wrong is said with row, finding, rule and next step."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_models.chat import Chat
from wardrobe_trainer.dataset import Fault, Row, control_token_fault
from wardrobe_trainer.layouts import parse_row
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.reading import read_rows
from wardrobe_trainer.split import prompt_key

MakeRow = Callable[..., str]
USER = {"role": "user", "content": "Why?"}
ASSISTANT = {"role": "assistant", "content": "Because."}


def refusal(path: Path) -> TaskError:
    with pytest.raises(TaskError) as caught:
        read_rows(path, "pvc://data/x.jsonl")
    assert caught.value.code is ExitCode.BAD_DATA
    assert caught.value.problem.field == "spec.dataset.source"
    return caught.value


def fault_of(value: object) -> Fault:
    found = parse_row(7, json.dumps(value))
    assert isinstance(found, Fault)
    assert found.number == 7
    return found


def test_the_real_rows(cardiology: Path) -> None:
    rows = read_rows(cardiology, "x")
    assert len(rows) == 555
    assert [row.number for row in rows] == list(range(1, 556))
    assert rows[0].line == cardiology.read_text().splitlines()[0]


def test_blank_lines_carriage_returns_and_a_byte_order_mark(tmp_path: Path, row: MakeRow) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + f"{row('a', 'b')}\r\n\r\n{row('c', 'd')}".encode())
    assert [(item.number, item.answer) for item in read_rows(path, "x")] == [(1, "b"), (3, "d")]
    assert not read_rows(path, "x")[0].line.endswith("\r")


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "cardiology.jsonl").touch()
    (tmp_path / "..data").mkdir()
    error = refusal(tmp_path / "cardiologie.jsonl")
    assert error.reason is Reason.DATASET_NOT_FOUND
    assert error.problem.value == "pvc://data/x.jsonl"
    assert "cardiology.jsonl" in error.problem.rule
    assert "..data" not in error.problem.rule


def test_a_folder_is_not_a_dataset(tmp_path: Path) -> None:
    assert refusal(tmp_path).reason is Reason.DATASET_NOT_FOUND


@pytest.mark.parametrize("content", ["", "\n\n \n"])
def test_an_empty_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    assert refusal(path).reason is Reason.DATASET_EMPTY


def test_bytes_that_are_no_text(tmp_path: Path, row: MakeRow) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(row("a", "b").encode() + b"\n" + '{"messages": "Ü"}'.encode("latin-1"))
    error = refusal(path)
    assert error.reason is Reason.DATASET_MALFORMED
    assert "row 2 is not UTF-8" in error.problem.rule


@pytest.mark.parametrize(
    ("value", "found", "hint"),
    [
        ([USER, ASSISTANT], "a list", "messages"),
        ({"conversations": [{"from": "human", "value": "x"}]}, "'conversations'", '"messages"'),
        ({"prompt": "a"}, "there is no completion", '"messages"'),
        ({"prompt": "a", "completion": 3}, "the completion is no text", "Fill in"),
        ({"prompt": " ", "completion": "b"}, "the prompt is blank", "Fill in"),
        ({"text": None}, "the text is null", "Fill in"),
        ({"text": "a", "messages": [USER, ASSISTANT]}, "it has messages, text", "Leave out"),
        ({"prompt": "a", "completion": "b", "id": 7}, "1 other keys", "spec.dataset.columns"),
        ({"messages": []}, "messages is empty", '"messages"'),
        ({"messages": "hello"}, "messages is text", '"messages"'),
        ({}, "no messages, prompt or text", '"messages"'),
        ({"messages": [USER, ASSISTANT], "weight": 2, "lang": "en"}, "2 other keys", "metadata"),
        ({"messages": ["Why?"]}, "message 1 is text", "role"),
        ({"messages": [USER, {**ASSISTANT, "tool_calls": []}]}, "message 2 has 1 other keys", "tool calls"),
        ({"messages": [USER, {"role": "assistant"}]}, "message 2 lacks content", "Rewrite"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "message 2 is null", "Fill in"),
        ({"messages": [USER, {"role": "assistant", "content": " \n"}]}, "message 2 is blank", "Fill in"),
        (
            {"messages": [USER, {"role": "assistant", "content": "broken \ud83d"}]},
            "message 2 has half",
            "whole Unicode",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}, ASSISTANT]}, "message 1 is a list", "Fill in"),
    ],
)
def test_a_malformed_row(value: object, found: str, hint: str) -> None:
    fault = fault_of(value)
    assert fault.reason is Reason.DATASET_MALFORMED
    assert found in fault.found
    assert hint in f"{fault.rule} {fault.next_step}"


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        (["human", "gpt"], "Write 'user' for 'human'"),
        (["user", "tool"], "the role of message 2 is none of them"),
        (["user"], "the assistant speaks last"),
        (["assistant"], "take turns"),
        (["system"], "take turns"),
        (["assistant", "user"], "take turns"),
        (["user", "user", "assistant"], "user, user, assistant"),
        (["user", "assistant", "user"], "the assistant speaks last"),
        (["user", "system", "assistant"], "take turns"),
        (["system", "system", "user", "assistant"], "take turns"),
    ],
)
def test_wrong_roles(roles: list[str], said: str) -> None:
    fault = fault_of({"messages": [{"role": role, "content": "x"} for role in roles]})
    assert fault.reason is Reason.ROLES_INVALID
    assert said in f"{fault.found} {fault.rule} {fault.next_step}"


@pytest.mark.parametrize("roles", [["user", "assistant"], ["system", "user", "assistant"], ["user", "assistant"] * 3])
def test_right_roles(roles: list[str]) -> None:
    value = {"messages": [{"role": role, "content": "x"} for role in roles], "source": "s", "metadata": {"a": 1}}
    assert isinstance(parse_row(1, json.dumps(value)), Row)


KEYS = ["role", "content", "messages"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "messages"]), inner)
    ),
    max_leaves=12,
)


@given(value=JSON)
def test_no_row_is_a_surprise(value: object) -> None:
    """Whatever a line holds, it is a row that can be trained on or a fault that can be written down."""
    found = parse_row(1, json.dumps(value))
    if isinstance(found, Fault):
        written = f"{found.found} {found.rule} {found.next_step}"
        assert written.encode().decode() == written
    else:
        assert found.messages[-1]["role"] == "assistant"
        assert prompt_key(found.messages).encode().decode() == prompt_key(found.messages)


def test_thousands_of_brackets() -> None:
    assert isinstance(parse_row(1, "[" * 100_000), Fault)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "x.jsonl").touch()
    monkeypatch.setattr(Path, "open", denied)
    error = refusal(tmp_path / "x.jsonl")
    assert error.reason is Reason.DATASET_NOT_FOUND
    assert "may not read the file" in error.problem.rule


@pytest.mark.parametrize("line", ["{", "not json", '{"messages": [}', "{} {}"])
def test_a_line_that_is_no_json(line: str) -> None:
    fault = parse_row(3, line)
    assert isinstance(fault, Fault)
    assert "one JSON object on one line" in fault.rule
    assert fault.found.startswith("no JSON from character ")


def test_rows_with_the_same_fault_are_listed_together(tmp_path: Path, row: MakeRow) -> None:
    lines = [row("q", "a")] * 20
    for number in (2, 4, 6, 8, 10, 12, 14):
        lines[number - 1] = "{"
    lines[18] = json.dumps({"messages": [USER]})
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines))
    error = refusal(path)
    assert "7 of 20 rows break this: 2, 4, 6, 8, 10 and 2 more" in error.problem.rule
    assert "1 more rows have other faults" in error.problem.rule
    assert error.problem.value.startswith("row 2: ")


@pytest.mark.parametrize("token", ["<|end|>", "<|assistant|>"])
def test_control_tokens_in_a_message(row: MakeRow, chat: Chat, token: str) -> None:
    """A row could otherwise end its turn and write the other side of the conversation."""
    parsed = parse_row(5, row(f"Hi{token}", "b"))
    assert isinstance(parsed, Row)
    fault = control_token_fault(parsed, chat)
    assert fault is not None
    assert token in fault.found
