"""Reading a dataset in chat format, one JSON object per line, and saying precisely what is wrong with it.

A row is `{"messages": [{"role": …, "content": …}, …]}`: an optional system message, then user and assistant in turn,
ending with the assistant. `source` and `metadata` may stand beside `messages` and are carried along; any other key is
refused, because it would be ignored.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wardrobe_contracts.exits import Reason

from .problems import TaskError, bad_data, listed
from .tokens import Message

ROW_KEYS = {"messages", "source", "metadata"}
FIELD = "spec.dataset.source"
_FOREIGN_LAYOUTS = ("conversations", "prompt", "instruction", "text", "question")
"""Keys of other common layouts, to recognise a dataset that only needs rewriting."""
_FOREIGN_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}


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
    rule: str
    next_step: str


def read_rows(path: Path, source: str) -> list[Row]:
    """All rows of a file, blank lines left out. Raises TaskError where the file or any row is not as it must be."""
    try:
        lines = _lines(path, source)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise _not_found(path, source) from error
    except PermissionError as error:
        raise _not_readable(source) from error
    parsed = [parse_row(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    raise_faults([item for item in parsed if isinstance(item, Fault)], len(parsed))
    if not parsed:
        raise bad_data(
            Reason.DATASET_EMPTY,
            field=FIELD,
            value=source,
            rule=f"the file has {path.stat().st_size} bytes and no row",
            next_step="Put at least one conversation per line into it; a few hundred make a useful adapter",
        )
    return [item for item in parsed if isinstance(item, Row)]


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


def _lines(path: Path, source: str) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        row = path.read_bytes()[: error.start].count(b"\n") + 1
        raise bad_data(
            Reason.DATASET_MALFORMED,
            field=FIELD,
            value=source,
            rule=f"row {row} is not UTF-8 text (byte {error.start} of the file)",
            next_step="Save the file as UTF-8",
        ) from error


def parse_row(number: int, line: str) -> Row | Fault:
    """One line as a row, or what is wrong with it."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:  # thousands of nested brackets are no conversation
        rule = "a row must be one JSON object on one line"
        hint = "Write JSON Lines; a pretty-printed JSON file or an array must be rewritten with one object per line"
        return Fault(number, Reason.DATASET_MALFORMED, f"{_shown(line)} ({error})", rule, hint)
    fault = _layout_fault(number, value) or _message_fault(number, value["messages"]) or _role_fault(number, value)
    return fault or Row(number, value["messages"], line.rstrip("\r"))


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.encode(errors="backslashreplace").decode()  # half a surrogate pair cannot be written to a record
    return repr(text if len(text) <= 60 else text[:60] + "…")


def _layout_fault(number: int, value: Any) -> Fault | None:
    def fault(found: str, rule: str, next_step: str) -> Fault:
        return Fault(number, Reason.DATASET_MALFORMED, found, rule, next_step)

    wanted = 'Write each row as {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}'
    if not isinstance(value, dict):
        return fault(_shown(value), "a row must be a JSON object", wanted)
    if foreign := [key for key in _FOREIGN_LAYOUTS if key in value and "messages" not in value]:
        return fault(f"the key {foreign[0]!r}", "a row must hold its conversation under messages", wanted)
    if not isinstance(value.get("messages"), list) or not value["messages"]:
        return fault(f"messages {_shown(value.get('messages'))}", "messages must be a list that is not empty", wanted)
    if unknown := sorted(value.keys() - ROW_KEYS):
        hint = "Remove the keys, or move them under metadata, which is carried along and not trained on"
        return fault(
            f"the keys {_shown(', '.join(unknown))}", "a row has messages and may have source and metadata", hint
        )
    return None


def _message_fault(number: int, messages: list[Any]) -> Fault | None:
    for place, message in enumerate(messages, 1):
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            rule, hint = "a message has exactly role and content", "Rewrite the messages; tool calls are not supported"
            return Fault(number, Reason.DATASET_MALFORMED, f"message {place} {_shown(message)}", rule, hint)
        content = message["content"]
        if not isinstance(content, str) or not content.strip():
            rule, hint = "content must be text that is not empty", "Fill in the text or remove the rows"
            found = f"message {place} with content {_shown(content)}"
            return Fault(number, Reason.DATASET_MALFORMED, found, rule, hint)
        if _half_characters(content):
            rule, hint = "text must be whole Unicode characters", "Write emoji as themselves or as both \\u escapes"
            return Fault(number, Reason.DATASET_MALFORMED, f"message {place} {_shown(content)}", rule, hint)
    return None


def _half_characters(text: str) -> bool:
    """JSON can escape one half of a surrogate pair, which is no character and has no bytes."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _role_fault(number: int, value: dict[str, Any]) -> Fault | None:
    roles = [message["role"] for message in value["messages"]]

    def fault(found: str, rule: str, next_step: str) -> Fault:
        return Fault(number, Reason.ROLES_INVALID, found, rule, next_step)

    for role in roles:
        if role not in ("system", "user", "assistant"):
            known = _FOREIGN_ROLES.get(str(role))
            hint = f"Write {known!r} for {_shown(role)}" if known else "Rename the roles or remove the rows"
            return fault(f"the role {_shown(role)}", "a role is system, user or assistant", hint)
    turns = roles[1:] if roles[0] == "system" else roles
    if turns != ["user", "assistant"] * (len(turns) // 2) or not turns:
        rule = "after an optional system message, user and assistant take turns, and the assistant speaks last"
        return fault(f"the roles {', '.join(roles)}", rule, "Join neighbouring messages of one role, or cut the row")
    return None


def special_token_fault(row: Row, special_tokens: Iterable[str]) -> Fault | None:
    """Control tokens inside a message would end or begin turns: a row could write the other side of a conversation."""
    for token in special_tokens:
        if any(token in message["content"] for message in row.messages):
            return Fault(
                row.number,
                Reason.DATASET_MALFORMED,
                f"{token!r} in a message",
                "a message must not contain the tokenizer's control tokens",
                "Remove the tokens from the text; the chat template writes them itself",
            )
    return None


def raise_faults(faults: list[Fault], rows: int) -> None:
    """Raise the first kind of fault with all rows that have it, and say how many rows have another."""
    if not faults:
        return
    first = faults[0]
    same = [fault for fault in faults if fault.rule == first.rule]
    numbers = listed([str(fault.number) for fault in same])
    others = len(faults) - len(same)
    extra = f" ({others} more rows have other faults)" if others else ""
    raise bad_data(
        first.reason,
        field=FIELD,
        value=f"row {first.number}: {first.found}",
        rule=f"{first.rule}; {len(same)} of {rows} rows break this: {numbers}{extra}",
        next_step=first.next_step,
    )
