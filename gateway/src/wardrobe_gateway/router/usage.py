"""Tokens of an answer, read from it while it passes, and hidden from who did not ask for them. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EVENT_END = b"\n\n"
DATA = b"data:"
LONGEST_EVENT = 1 << 20
"""What is kept of an event without an end; it is passed on after this."""


@dataclass(frozen=True)
class Usage:
    """Tokens that an engine counted."""

    prompt: int = 0
    completion: int = 0


def of_answer(body: bytes, headers: Mapping[str, str], *, hide: bool) -> tuple[Usage, bytes]:
    """Of a whole answer: OpenAI's `usage`, TGI's `details` or headers. Returns what the client gets, too."""
    try:
        content = json.loads(body)
    except ValueError:
        return Usage(), body
    usage = _of(content) or _usage(headers.get("X-Prompt-Tokens"), headers.get("X-Generated-Tokens"))
    if hide and isinstance(content, dict) and "details" in content:
        del content["details"]
        return usage, json.dumps(content, ensure_ascii=False).encode()
    return usage, body


class Events:
    """Server-sent events on their way. Without anything to hide, every byte goes on at once."""

    def __init__(self, *, hide_usage: bool) -> None:
        self.usage: Usage | None = None
        self.events = 0
        """Events with data; without a usage, the nearest thing to a count of tokens."""
        self._hide = hide_usage
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        """What may go on, of what came."""
        whole, end, self._buffer = (self._buffer + data).rpartition(EVENT_END)
        shown = b"".join(self._look(event) for event in whole.split(EVENT_END) if end)
        if len(self._buffer) > LONGEST_EVENT:
            shown += self.rest()
        return shown if self._hide else data

    def rest(self) -> bytes:
        """What is left at the end of a stream that does not end with an event."""
        rest, self._buffer = self._buffer, b""
        return rest if self._hide else b""

    def _look(self, event: bytes) -> bytes:
        """Count an event; what the client is to see of it."""
        self.events += event.startswith(DATA)
        if b'"usage"' not in event and b'"details"' not in event:
            return event + EVENT_END
        try:
            content = json.loads(event.removeprefix(DATA))
        except ValueError:
            return event + EVENT_END
        found = _of(content)
        self.usage = found or self.usage
        return _without(event, content) if found else event + EVENT_END


def _without(event: bytes, content: dict[str, Any]) -> bytes:
    """An event that tells the usage, for who did not ask: OpenAI's has nothing else in it, TGI's is the last token."""
    if content.get("choices") == []:
        return b""
    if "details" in content:
        return DATA + json.dumps({**content, "details": None}, ensure_ascii=False).encode() + EVENT_END
    return event + EVENT_END


def _of(content: Any) -> Usage | None:
    """OpenAI's `usage`, or TGI's `details`."""
    if not isinstance(content, dict):
        return None
    if isinstance(usage := content.get("usage"), dict):
        return _usage(usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if isinstance(details := content.get("details"), dict):
        return _usage(details.get("input_length"), details.get("generated_tokens"))
    return None


def _usage(prompt: Any, completion: Any) -> Usage:
    try:
        return Usage(int(prompt or 0), int(completion or 0))
    except (TypeError, ValueError):
        return Usage()
