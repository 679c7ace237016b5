"""The layouts of a row: a conversation under `messages`, `prompt` with `completion`, or a `text`.

A conversation is `[{"role": …, "content": …}, …]`: an optional system message, then user and assistant in turn, ending
with the assistant. A prompt with its completion is one of two messages. A text is learnt as it stands, without the chat
template. `source` and `metadata` may stand beside them; any other key is refused, because it would be ignored, unless
`spec.dataset.columns` says which are read.
"""

import json
import re
from collections.abc import Collection
from typing import Any

from wardrobe_contracts.datasets import LAYOUTS, Columns
from wardrobe_contracts.exits import Reason
from wardrobe_models.chat import Message

from .dataset import ROW_LIMIT, TEXT, Fault, Row, too_long
from .problems import listed

COLUMNS = "spec.dataset.columns"
CARRIED = frozenset({"source", "metadata"})
"""Keys that the run's copy of a line keeps, and nobody reads."""
EITHER = "messages, or prompt and completion, or text"
_FOREIGN_LAYOUTS = ("conversations", "instruction", "question")
"""Keys of other common layouts, to recognise a dataset whose keys only need naming, or whose rows rewriting."""
_FOREIGN_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
_WANTED = (
    'Write each row as {"messages": [{"role": "user", "content": …}, {"role": "assistant", "content": …}]}, as '
    f'{{"prompt": …, "completion": …}} or as {{"text": …}}; or name its keys under {COLUMNS}'
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_row(number: int, line: str, columns: Columns | None = None) -> Row | Fault:
    """One line of JSON as a row, or what is wrong with it."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:  # thousands of nested brackets are no conversation
        rule = "a row must be one JSON object on one line"
        hint = "Write JSON Lines, or set spec.dataset.format to what the file is: JSON (one array), CSV or Parquet"
        place = f" from character {error.pos + 1} on" if isinstance(error, json.JSONDecodeError) else ""
        return Fault(number, Reason.DATASET_MALFORMED, f"no JSON{place}", rule, hint)
    names = _named(number, value, columns)
    messages = names if isinstance(names, Fault) else _messages(number, value, names)
    if isinstance(messages, Fault):
        return messages
    if columns is None and "messages" in value and "\n" not in line:
        return Row(number, messages, line.rstrip("\r"))
    return _in_own_words(number, messages)


def kept_messages(line: bytes) -> list[Message]:
    """Of a row as the run keeps it."""
    value: dict[str, Any] = json.loads(line)
    messages: list[Message] = value.get("messages") or [{"role": TEXT, "content": value[TEXT]}]
    return messages


def layouts_in(names: Collection[str]) -> list[tuple[str, ...]]:
    """Those of which any column is there."""
    return [layout for layout in LAYOUTS if not set(layout).isdisjoint(names)]


def _in_own_words(number: int, messages: list[Message]) -> Row | Fault:
    """A row that does not stand in the file as it is kept."""
    is_text = messages[0]["role"] == TEXT
    value = {TEXT: messages[0]["content"]} if is_text else {"messages": messages}
    line = json.dumps(value, ensure_ascii=False)
    return too_long(number) if len(line.encode()) > ROW_LIMIT else Row(number, messages, line)


def _malformed(number: int, found: str, rule: str, next_step: str, field: str | None = None) -> Fault:
    return Fault(number, Reason.DATASET_MALFORMED, found, rule, next_step, field)


def _named(number: int, value: Any, columns: Columns | None) -> dict[str, str] | Fault:
    """The row's keys, by what they hold."""
    if not isinstance(value, dict):
        return _malformed(number, _kind(value), "a row must be a JSON object", _WANTED)
    if columns is None:
        return _by_itself(number, value)
    for held, name in columns.given.items():
        if name not in value:
            rule, hint = f"a row must have the key {name!r}, which {COLUMNS} names", "Correct the name, or the rows"
            return _malformed(number, f"there is no {held}", rule, hint, f"{COLUMNS}.{held}")
    return columns.given


def _by_itself(number: int, value: dict[str, Any]) -> dict[str, str] | Fault:
    """Where nobody says what its keys hold."""
    rule, found = f"a row has {EITHER}", layouts_in(value)
    if not found:
        foreign = next((f"the key {key!r}" for key in _FOREIGN_LAYOUTS if key in value), "")
        return _malformed(number, foreign or "there is no messages, prompt or text", rule, _WANTED)
    if len(found) > 1:
        names = listed([name for layout in found for name in layout if name in value])
        hint = f"Leave out what is not to be learnt, or name what is under {COLUMNS}"
        return _malformed(number, f"it has {names}", f"{rule}, and not two of them", hint)
    [layout] = found
    if lacking := [name for name in layout if name not in value]:
        return _malformed(number, f"there is no {lacking[0]}", rule, _WANTED)
    if unknown := value.keys() - layout - CARRIED:
        hint = f"Remove the other keys, or move them under metadata; or name those to read under {COLUMNS}"
        rule = f"a row has {' and '.join(layout)} and may have source and metadata"
        return _malformed(number, f"{len(unknown)} other keys", rule, hint)
    return {name: name for name in layout}


def _messages(number: int, value: dict[str, Any], names: dict[str, str]) -> list[Message] | Fault:
    """The row as a conversation."""
    if "messages" in names:
        messages = value[names["messages"]]
        return _list_fault(number, messages) or _message_fault(number, messages) or _role_fault(number, messages)
    for held, name in names.items():
        if fault := _text_fault(number, held, value[name]):
            return fault
    roles = ((TEXT, "text"),) if "text" in names else (("user", "prompt"), ("assistant", "completion"))
    return [{"role": role, "content": value[names[held]]} for role, held in roles]


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


def _list_fault(number: int, messages: Any) -> Fault | None:
    if isinstance(messages, list) and messages:
        return None
    return _malformed(number, f"messages is {_kind(messages)}", "messages must be a list that is not empty", _WANTED)


def _message_fault(number: int, messages: list[Any]) -> Fault | None:
    for place, message in enumerate(messages, 1):
        if not isinstance(message, dict) or message.keys() != {"role", "content"}:
            rule, hint = "a message has exactly role and content", "Rewrite the messages; tool calls are not supported"
            return _malformed(number, f"message {place} {_lack(message)}", rule, hint)
        if fault := _text_fault(number, f"content of message {place}", message["content"]):
            return fault
    return None


def _text_fault(number: int, what: str, text: Any) -> Fault | None:
    if not isinstance(text, str) or not text.strip():
        found = f"the {what} is {'blank' if isinstance(text, str) else _kind(text)}"
        rule, hint = (
            f"{what.split(maxsplit=1)[0]} must be text that is not empty",
            "Fill in the text or remove the rows",
        )
        return _malformed(number, found, rule, hint)
    if _half_characters(text):
        rule, hint = "text must be whole Unicode characters", "Write emoji as themselves or as both \\u escapes"
        return _malformed(number, f"the {what} has half a surrogate pair", rule, hint)
    return None


def _lack(message: Any) -> str:
    if not isinstance(message, dict):
        return f"is {_kind(message)}"
    lacking = sorted({"role", "content"} - message.keys())
    return f"lacks {' and '.join(lacking)}" if lacking else f"has {len(message) - 2} other keys"


def _half_characters(text: str) -> bool:
    """JSON can escape one half of a surrogate pair, which is no character and has no bytes."""
    return _SURROGATE.search(text) is not None


def _role_fault(number: int, messages: list[dict[str, Any]]) -> list[Message] | Fault:
    """The messages, or what is wrong with the order of their roles."""
    roles = [message["role"] for message in messages]

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
    return messages
