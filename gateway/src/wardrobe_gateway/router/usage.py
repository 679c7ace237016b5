"""Tokens of an answer, read from it while it passes. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EVENT_END = b"\n\n"
DATA = b"data:"
LONGEST_EVENT = 1 << 20
"""An event without an end is passed on after this."""


@dataclass(frozen=True)
class Usage:
    """Tokens that an engine counted."""

    prompt: int = 0
    completion: int = 0


def of_answer(body: bytes, headers: Mapping[str, str]) -> Usage:
    """Of a whole answer: TGI's headers, or else OpenAI's `usage`."""
    if "X-Generated-Tokens" in headers:
        return _usage(headers.get("X-Prompt-Tokens"), headers["X-Generated-Tokens"])
    try:
        return _of_event(json.loads(body)) or Usage()
    except ValueError:
        return Usage()


class Events:
    """Server-sent events on their way. Without anything to hide, every byte goes on at once."""

    def __init__(self, *, hide_usage: bool) -> None:
        self.usage: Usage | None = None
        self.events = 0
        """Events with data; without a usage, the nearest thing to a count of tokens."""
        self._hide = hide_usage
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may go on, of what came."""
        whole, end, self._held = (self._held + data).rpartition(EVENT_END)
        shown = [event for event in (whole + end).split(EVENT_END)[:-1] if self._look(event)]
        if not self._hide:
            return data
        if len(self._held) > LONGEST_EVENT:
            return b"".join(event + EVENT_END for event in shown) + self.rest()
        return b"".join(event + EVENT_END for event in shown)

    def rest(self) -> bytes:
        """What is left at the end of a stream that does not end with an event."""
        held, self._held = self._held, b""
        return held if self._hide else b""

    def _look(self, event: bytes) -> bool:
        """Count an event; whether the client is to see it."""
        self.events += event.startswith(DATA)
        if b'"usage"' not in event and b'"details"' not in event:
            return True
        try:
            content = json.loads(event.removeprefix(DATA))
        except ValueError:
            return True
        found = _of_event(content)
        self.usage = found or self.usage
        return not (self._hide and found is not None and content.get("choices") == [])


def _of_event(content: Any) -> Usage | None:
    """OpenAI's `usage`, or TGI's `details` of a stream's last event."""
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
