"""Reading a dataset in chat format, one JSON object per line, and saying precisely what is wrong with it.

A row is `{"messages": [{"role": …, "content": …}, …]}`: an optional system message, then user and assistant in turn,
ending with the assistant. `source` and `metadata` may stand beside `messages` and are carried along; any other key is
refused, because it would be ignored.

Messages become conditions and events, which more people read than the rows: they give a row's number and the rule that
it breaks, and never a word of it.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from wardrobe_contracts.exits import Reason
from wardrobe_models.chat import Chat, Message

from .problems import NAMED_EXAMPLES, TaskError, bad_data, listed

ROW_KEYS = {"messages", "source", "metadata"}
FIELD = "spec.dataset.source"
ROW_LIMIT = 4 * 2**20
"""Bytes of a line, which takes twenty times as much to parse. 128,000 tokens are some 0.6 MB of text."""
_FOREIGN_LAYOUTS = ("conversations", "prompt", "instruction", "text", "question")
"""Keys of other common layouts, to recognise a dataset that only needs rewriting."""
_FOREIGN_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Row:
    """One accepted line."""

    number: int
    """Line in the file, from 1."""
    messages: list[Message]
    line: str
    """As it stands in the file, without its line end."""

    @property
    def answer(self) -> str:
        """The last message, which is always the assistant's."""
        return self.messages[-1]["content"]


@dataclass(frozen=True)
class Fault:
    """What is wrong with one row. Rows with the same rule are reported together."""

    number: int
    reason: Reason
    found: str
    """In our own words: nothing of the row."""
    rule: str
    next_step: str


class Faults:
    """What is wrong with a dataset, in memory that does not grow with it: the first kind, and how many others."""

    def __init__(self) -> None:
        self._first: Fault | None = None
        self._numbers: list[str] = []
        """Of the first rows that have the first kind."""
        self._same = self._others = 0

    def __bool__(self) -> bool:
        return self._first is not None

    def add(self, fault: Fault) -> None:
        """Count one, in the order of the file."""
        self._first = self._first or fault
        if fault.rule != self._first.rule:
            self._others += 1
            return
        self._same += 1
        if len(self._numbers) < NAMED_EXAMPLES:
            self._numbers.append(str(fault.number))

    def raise_any(self, rows: int) -> None:
        """Raise TaskError with the first kind, the rows that have it, and how many rows have another."""
        if self._first is None:
            return
        rest = self._same - len(self._numbers)
        numbers = listed(self._numbers) + (f" and {rest} more" if rest else "")
        extra = f" ({self._others} more rows have other faults)" if self._others else ""
        raise bad_data(
            self._first.reason,
            field=FIELD,
            value=f"row {self._first.number}: {self._first.found}",
            rule=f"{self._first.rule}; {self._same} of {rows} rows break this: {numbers}{extra}",
            next_step=self._first.next_step,
        )


def read_rows(path: Path, source: str) -> list[Row]:
    """All rows of a file at once. Raises TaskError where the file or any row is not as it must be."""
    faults, rows, read = Faults(), [], 0
    for item in stream_rows(path, source):
        read += 1
        rows.append(item) if isinstance(item, Row) else faults.add(item)
    faults.raise_any(read)
    return rows


def stream_rows(path: Path, source: str) -> Iterator[Row | Fault]:
    """The rows of a file, one at a time, without blank lines. Raises TaskError where it is empty or cannot be read."""
    empty = True
    try:
        if not path.is_file():
            raise _not_found(path, source)
        with path.open("rb") as file:
            for item in _parsed(file, source):
                empty = False
                yield item
    except PermissionError as error:
        raise _not_readable(source) from error
    if empty:
        raise bad_data(
            Reason.DATASET_EMPTY,
            field=FIELD,
            value=source,
            rule=f"the file has {path.stat().st_size} bytes and no row",
            next_step="Put at least one conversation per line into it; a few hundred make a useful adapter",
        )


def _not_found(path: Path, source: str) -> TaskError:
    near = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    visible = [name for name in near if not name.startswith("..")]  # a ConfigMap's volume has `..data`
    return bad_data(
        Reason.DATASET_NOT_FOUND,
        field=FIELD,
        value=source,
        rule=f"there is no such file; its folder holds: {listed(visible) or 'nothing'}",
        next_step="Correct the path, or copy the file to where it should be",
    )


def _not_readable(source: str) -> TaskError:
    return bad_data(
        Reason.DATASET_NOT_FOUND,
        field=FIELD,
        value=source,
        rule=f"user {os.getuid()}, as which Wardrobe's pods run, may not read the file",
        next_step="Make file and folders readable for that user, for example with chmod -R a+rX",
    )


def _parsed(file: BinaryIO, source: str) -> Iterator[Row | Fault]:
    """Every line that is not blank, one at a time in memory. Raises TaskError where one is no text."""
    number = 0
    while line := file.readline(ROW_LIMIT + 1):
        number += 1
        if len(line) > ROW_LIMIT:
            while not line.endswith(b"\n") and (line := file.readline(ROW_LIMIT)):
                pass
            yield _too_long(number)
            continue
        text = _text(line, number, file.tell() - len(line), source)
        if text.strip():
            yield parse_row(number, text)


def _text(line: bytes, number: int, start: int, source: str) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise bad_data(
            Reason.DATASET_MALFORMED,
            field=FIELD,
            value=source,
            rule=f"row {number} is not UTF-8 text (byte {start + error.start} of the file)",
            next_step="Save the file as UTF-8",
        ) from error


def _too_long(number: int) -> Fault:
    rule, hint = f"a row has at most {ROW_LIMIT} bytes", "Write one conversation per line, and cut what is longer"
    return Fault(number, Reason.DATASET_MALFORMED, "longer than that", rule, hint)


def parse_row(number: int, line: str) -> Row | Fault:
    """One line as a row, or what is wrong with it."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:  # thousands of nested brackets are no conversation
        rule = "a row must be one JSON object on one line"
        hint = "Write JSON Lines; a pretty-printed JSON file or an array must be rewritten with one object per line"
        place = f" from character {error.pos + 1} on" if isinstance(error, json.JSONDecodeError) else ""
        return Fault(number, Reason.DATASET_MALFORMED, f"no JSON{place}", rule, hint)
    fault = _layout_fault(number, value) or _message_fault(number, value["messages"]) or _role_fault(number, value)
    return fault or Row(number, value["messages"], line.rstrip("\r"))


def _kind(value: object) -> str:
    """What sort of value it is; never the value, which is somebody's words."""
    match value:
        case None:
            return "null"
        case str():
            return "text"
        case bool() | int() | float():
            return "no text"
        case list() | dict() if not value:
            return "empty"
        case list():
            return "a list"
        case _:
            return "an object"


def _layout_fault(number: int, value: Any) -> Fault | None:
    def fault(found: str, rule: str, next_step: str) -> Fault:
        return Fault(number, Reason.DATASET_MALFORMED, found, rule, next_step)

    wanted = 'Write each row as {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}'
    if not isinstance(value, dict):
        return fault(_kind(value), "a row must be a JSON object", wanted)
    if foreign := [key for key in _FOREIGN_LAYOUTS if key in value and "messages" not in value]:
        return fault(f"the key {foreign[0]!r}", "a row must hold its conversation under messages", wanted)
    if not isinstance(value.get("messages"), list) or not value["messages"]:
        found = f"messages is {_kind(value['messages'])}" if "messages" in value else "there is no messages"
        return fault(found, "messages must be a list that is not empty", wanted)
    if unknown := value.keys() - ROW_KEYS:
        hint = "Remove the other keys, or move them under metadata, which is carried along and not trained on"
        return fault(f"{len(unknown)} other keys", "a row has messages and may have source and metadata", hint)
    return None


def _message_fault(number: int, messages: list[Any]) -> Fault | None:
    for place, message in enumerate(messages, 1):
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            rule, hint = "a message has exactly role and content", "Rewrite the messages; tool calls are not supported"
            return Fault(number, Reason.DATASET_MALFORMED, f"message {place} {_lack(message)}", rule, hint)
        content = message["content"]
        if not isinstance(content, str) or not content.strip():
            rule, hint = "content must be text that is not empty", "Fill in the text or remove the rows"
            found = f"the content of message {place} is {'blank' if isinstance(content, str) else _kind(content)}"
            return Fault(number, Reason.DATASET_MALFORMED, found, rule, hint)
        if _half_characters(content):
            rule, hint = "text must be whole Unicode characters", "Write emoji as themselves or as both \\u escapes"
            found = f"message {place} has half a surrogate pair"
            return Fault(number, Reason.DATASET_MALFORMED, found, rule, hint)
    return None


def _lack(message: Any) -> str:
    if not isinstance(message, dict):
        return f"is {_kind(message)}"
    lacking = sorted({"role", "content"} - message.keys())
    return f"lacks {' and '.join(lacking)}" if lacking else f"has {len(message) - 2} other keys"


def _half_characters(text: str) -> bool:
    """JSON can escape one half of a surrogate pair, which is no character and has no bytes."""
    return _SURROGATE.search(text) is not None


def _role_fault(number: int, value: dict[str, Any]) -> Fault | None:
    roles = [message["role"] for message in value["messages"]]

    def fault(found: str, rule: str, next_step: str) -> Fault:
        return Fault(number, Reason.ROLES_INVALID, found, rule, next_step)

    for place, role in enumerate(roles, 1):
        if isinstance(role, str) and role in _FOREIGN_ROLES:
            hint = f"Write {_FOREIGN_ROLES[role]!r} for {role!r}"
            return fault(f"message {place} has the role {role!r}", "a role is system, user or assistant", hint)
        if role not in ("system", "user", "assistant"):
            found = f"the role of message {place} is none of them"
            return fault(found, "a role is system, user or assistant", "Rename the roles or remove the rows")
    turns = roles[1:] if roles[0] == "system" else roles
    if turns != ["user", "assistant"] * (len(turns) // 2) or not turns:
        rule = "after an optional system message, user and assistant take turns, and the assistant speaks last"
        return fault(f"the roles {listed(roles)}", rule, "Join neighbouring messages of one role, or cut the row")
    return None


def control_token_fault(row: Row, chat: Chat) -> Fault | None:
    """Control tokens in a message, which the engine does not take from clients either."""
    found = next((token for message in row.messages if (token := chat.control_token_in(message["content"]))), None)
    if found is None:
        return None
    return Fault(
        row.number,
        Reason.DATASET_MALFORMED,
        f"{found!r} in a message",
        "a message must not contain the tokenizer's control tokens",
        "Remove the tokens from the text; the chat template writes them itself",
    )
