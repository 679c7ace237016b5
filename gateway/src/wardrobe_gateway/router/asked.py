"""Requests as departments make them, and as the engine gets them. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from ..errors import Refusal

CHAT = "/v1/chat/completions"
GENERATE = "/generate"
GENERATE_STREAM = "/generate_stream"
COMPATIBLE = "/"
"""TGI's: streams or not as the body says. huggingface_hub's text_generation asks here."""
PATHS = (CHAT, GENERATE, GENERATE_STREAM, COMPATIBLE)


@dataclass(frozen=True)
class Asked:
    """A request, understood."""

    path: str
    """Where the engine is asked."""
    model: str | None
    payload: dict[str, Any]
    hide_usage: bool = False
    """The count of tokens is for us; the client did not ask for it."""
    as_list: bool = False
    """TGI answers a plain request at `/` with a list of one."""


def read(path: str, payload: dict[str, Any]) -> Asked:
    """Understand a body. Raises Refusal where the part we need has another type."""
    if path == CHAT:
        options = _object(payload, "stream_options")
        hide = bool(payload.get("stream")) and not options.get("include_usage")
        return Asked(path, _text(payload, "model"), payload, hide_usage=hide)
    stream = path == GENERATE_STREAM or (path == COMPATIBLE and bool(payload.get("stream")))
    if path == COMPATIBLE:
        payload = {name: value for name, value in payload.items() if name != "stream"}  # the path says it now
    parameters = _object(payload, "parameters")
    upstream = GENERATE_STREAM if stream else GENERATE
    return Asked(
        path=upstream,
        model=_text(parameters, "adapter_id"),
        payload=payload,
        hide_usage=not parameters.get("details"),
        as_list=path == COMPATIBLE and not stream,
    )


def body_for(asked: Asked, version: str) -> bytes:
    """The same request, naming exactly one version, and asking how many tokens it takes."""
    payload = dict(asked.payload)
    if asked.path == CHAT:
        payload["model"] = version
        if asked.hide_usage:
            payload["stream_options"] = {**(payload.get("stream_options") or {}), "include_usage": True}
    else:
        payload["parameters"] = {**(payload.get("parameters") or {}), "adapter_id": version, "details": True}
    return json.dumps(payload, separators=(",", ":")).encode()


def _object(payload: dict[str, Any], name: str) -> dict[str, Any]:
    value = payload.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(400, "invalid_request", f"{name} is not an object", param=name)
    return value


def _text(payload: dict[str, Any], name: str) -> str | None:
    value = payload.get(name)
    if value is not None and not isinstance(value, str):
        raise Refusal(400, "invalid_request", f"{name} is not a string", param=name)
    return value
