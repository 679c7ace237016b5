"""Bodies of requests: read within a deadline, and held against bounds before a parser sees them."""

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web

from wardrobe_contracts.json_shape import is_deeper, outside_strings

from .errors import ApiError

MAX_BODY_BYTES = 1 << 20
"""Of one request: about 60,000 tokens of Cyrillic text that a client wrote as \\u escapes, six bytes a letter."""
BODY_SECONDS = 30.0
"""For a whole body: 35 kB/s. What comes slower holds its place for nothing."""
MAX_DEPTH = 64
"""Of objects and lists in each other; tools' JSON Schemas have about 20. Parsers recurse, and fall over at 1,000."""
MAX_VALUES = 20_000
"""Strings, numbers, lists and objects of a request; a chat of 2,000 messages has 10,000. Each costs up to 250 bytes
once parsed, so that a body of empty lists would grow thirtyfold."""


async def read(
    request: web.BaseRequest,
    charge: Callable[[int], None],
    most: int = MAX_BODY_BYTES,
    seconds: float = BODY_SECONDS,
) -> bytes:
    """The whole body, within so many seconds. `charge` is told of bytes before they are kept, and may refuse them.

    Raises ApiError.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        message = "the request's body is compressed; send it as it is, without Content-Encoding"
        raise ApiError(415, "encoding_unsupported", message, headers={"Accept-Encoding": "identity"})
    announced = request.content_length or 0
    _require_size(announced, most)
    charge(announced)
    try:
        if request.content.is_eof():  # most are whole when their request begins: a timer would be the dearer part
            return await _pieces(request.content, announced, charge, most)
        async with asyncio.timeout(seconds):
            return await _pieces(request.content, announced, charge, most)
    except TimeoutError as error:
        raise ApiError(408, "request_timeout", f"the request's body took longer than {seconds:g} s") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise ApiError(400, "body_broken", "the request's body did not arrive whole") from error


async def _pieces(content: aiohttp.StreamReader, announced: int, charge: Callable[[int], None], most: int) -> bytes:
    """All pieces; each is charged as far as it goes beyond what was announced."""
    pieces, size = list[bytes](), 0
    while piece := await content.readany():
        size += len(piece)
        _require_size(size, most)
        charge(max(0, size - max(announced, size - len(piece))))
        pieces.append(piece)
    return b"".join(pieces)


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises ApiError where it is none, or one that costs too much to parse."""
    _require_structure(body)
    try:
        payload = DECODER.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "invalid_json", f"the request is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise ApiError(400, "invalid_json", "the request is not a JSON object")
    return payload


def encode(value: Any) -> bytes:
    """In UTF-8: as escapes, Cyrillic text would be three times as long. Raises ApiError for half a surrogate pair."""
    try:
        return ENCODER.encode(value).encode()
    except UnicodeEncodeError as error:
        raise ApiError(400, "invalid_json", "the request holds half a surrogate pair, which is no text") from error


def _require_size(size: int, most: int) -> None:
    if size > most:
        raise ApiError(413, "request_too_large", f"the request is larger than {most} bytes; ask with less")


def _require_structure(body: bytes) -> None:
    outside = outside_strings(body, MAX_VALUES)
    if outside is None:
        message = f"the request has more than {MAX_VALUES} values; ask with fewer messages"
        raise ApiError(400, "request_too_complex", message)
    if is_deeper(outside, MAX_DEPTH):
        message = f"the request nests deeper than {MAX_DEPTH} lists and objects; flatten it"
        raise ApiError(400, "request_too_deep", message)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is not a finite number")
    return value


ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)
