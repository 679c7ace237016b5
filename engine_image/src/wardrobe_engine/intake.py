"""What enters: requests and bytes in flight, a body's bytes, and the shape of its JSON, each bounded before it costs.

A body is measured before it is parsed. Parsing and validating happen on the event loop, where everybody waits for them.
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from wardrobe_contracts.json_shape import is_deeper, outside_strings

from .errors import (
    BrokenBodyError,
    EncodedBodyError,
    InvalidRequestError,
    OverloadedError,
    SlowBodyError,
    TooLargeError,
)

BODY_BYTES = 2_000_000
"""Bytes of a request's body, as in TGI."""
BYTES_IN_FLIGHT = 32 * 1024 * 1024
"""Bytes of the bodies of all requests that are read, waiting or running. Text of a body takes up to five times as much
in memory (its bytes, and four per character), so that all together stay below 160 MiB."""
ITEMS = 10_000
"""Values in a body's objects and lists: 3,333 messages. As many errors are built in 6 ms."""
DEPTH = 8
"""Objects and lists inside each other. A chat in parts has five."""
NUMBER_CHARACTERS = 40
"""Characters of a number: enough for any 64-bit float or integer."""

_LONG_NUMBER = re.compile(rb"[0-9eE.+-]{%d}" % (NUMBER_CHARACTERS + 1))


class Places:
    """Counts requests and the bytes of their bodies, from before the first byte is read to the last of the answer."""

    def __init__(self, requests: int) -> None:
        self._free = requests
        self._free_bytes = BYTES_IN_FLIGHT

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Hold a place for a request with a body of `size` bytes. Raises OverloadedError."""
        if self._free < 1 or self._free_bytes < size:
            raise OverloadedError("Model is overloaded")
        self._free -= 1
        self._free_bytes -= size
        try:
            yield
        finally:
            self._free += 1
            self._free_bytes += size


def announced(request: web.Request) -> int:
    """Bytes that a body will have, the most it may have where it does not say. Raises TooLargeError."""
    size = request.content_length if request.content_length is not None else BODY_BYTES
    if size > BODY_BYTES:
        raise TooLargeError(f"the body has {size} bytes; {BODY_BYTES} are taken at most")
    return size


async def read(request: web.Request, seconds: float) -> bytes:
    """The body, not kept anywhere else. Raises an EngineError where it is too large, slow, encoded or broken."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise EncodedBodyError("a body is taken as it is, without Content-Encoding")
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.content.iter_any():
                data += piece
                if len(data) > BODY_BYTES:
                    raise TooLargeError(f"the body has more than {BODY_BYTES} bytes")
    except TimeoutError as error:
        raise SlowBodyError(f"the body did not arrive within {seconds:.0f} s") from error
    except web.RequestPayloadError as error:
        raise BrokenBodyError("the body cannot be read: its transfer encoding is broken") from error
    return bytes(data)


def require_bounded(data: bytes) -> None:
    """Refuse JSON that is cheap to send and dear to parse or validate. Raises InvalidRequestError."""
    outside = outside_strings(data, ITEMS)
    if outside is None:
        raise InvalidRequestError(f"the body has more than {ITEMS} values")
    if _LONG_NUMBER.search(outside):
        raise InvalidRequestError(f"a number has more than {NUMBER_CHARACTERS} characters")
    if is_deeper(outside, DEPTH):
        raise InvalidRequestError(f"the body has more than {DEPTH} objects and lists inside each other")
