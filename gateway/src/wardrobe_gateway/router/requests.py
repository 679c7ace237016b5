"""Requests as departments make them, and as the engine gets them. Pure."""

from dataclasses import dataclass
from typing import Any

from ..bodies import encode
from ..errors import ApiError

CHAT = "/v1/chat/completions"
GENERATE = "/generate"
GENERATE_STREAM = "/generate_stream"
COMPATIBLE = "/"
"""TGI's: streams or not as the body says. huggingface_hub's text_generation asks here."""
PATHS = (CHAT, GENERATE, GENERATE_STREAM, COMPATIBLE)
LONGEST_NAME = 253
"""Characters of a model's name, as Kubernetes has them. It is told back to who asks, and must not be a text."""


@dataclass(frozen=True)
class ParsedRequest:
    """A request, understood. What was parsed is not kept: only what the engine is sent of it."""

    path: str
    """Where the engine is asked."""
    model: str | None
    before: bytes
    after: bytes
    """The engine's request before and after the adapter's name."""
    hide_usage: bool = False
    """The count of tokens is for us; the client did not ask for it."""
    as_list: bool = False
    """TGI answers a plain request at `/` with a list of one."""


def parse(path: str, payload: dict[str, Any]) -> ParsedRequest:
    """Understand a body. Raises ApiError where the part we need has another type."""
    return _chat(payload) if path == CHAT else _plain(path, payload)


def _chat(payload: dict[str, Any]) -> ParsedRequest:
    options = _object(payload, "stream_options")
    hide = bool(payload.get("stream")) and not options.get("include_usage")
    rest = {name: value for name, value in payload.items() if name != "model"}
    if hide:
        rest["stream_options"] = {**options, "include_usage": True}
    return ParsedRequest(CHAT, _name(payload, "model"), b'{"model":', _members(rest) + b"}", hide_usage=hide)


def _plain(path: str, payload: dict[str, Any]) -> ParsedRequest:
    parameters = _object(payload, "parameters")
    model = _name(parameters, "adapter_id")
    stream = path == GENERATE_STREAM or (path == COMPATIBLE and bool(payload.get("stream")))
    set_by_path = {"stream"} if path == COMPATIBLE else set()
    rest = {name: value for name, value in payload.items() if name not in {"parameters", *set_by_path}}
    more = {name: value for name, value in parameters.items() if name != "adapter_id"} | {"details": True}
    return ParsedRequest(
        path=GENERATE_STREAM if stream else GENERATE,
        model=model,
        before=b'{"parameters":{"adapter_id":',
        after=_members(more) + b"}" + _members(rest) + b"}",
        hide_usage=not parameters.get("details"),
        as_list=path == COMPATIBLE and not stream,
    )


def body_for(request: ParsedRequest, adapter: str) -> bytes:
    """The same request, naming exactly one adapter, and asking how many tokens it takes."""
    return b"".join((request.before, encode(adapter), request.after))


def _members(rest: dict[str, Any]) -> bytes:
    """More members of an object that has one already."""
    return b"," + encode(rest)[1:-1] if rest else b""


def _object(payload: dict[str, Any], name: str) -> dict[str, Any]:
    value = payload.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ApiError(400, "invalid_request", f"{name} is not an object", param=name)
    return value


def _name(payload: dict[str, Any], name: str) -> str | None:
    value = payload.get(name)
    if value is not None and not isinstance(value, str):
        raise ApiError(400, "invalid_request", f"{name} is not a string", param=name)
    if value is not None and len(value) > LONGEST_NAME:
        raise ApiError(400, "invalid_request", f"{name} is longer than {LONGEST_NAME} characters", param=name)
    return value
