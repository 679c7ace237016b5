"""What agent and router share in passing requests on: headers and streams."""

import re
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

PASSED_ON = ("Content-Type", "Accept", "Traceparent", "Tracestate", "X-Request-Id")
"""Headers of a request that reach the engine. Keys and cookies do not."""
KEPT_BACK = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "server",
        "date",
    }
)
"""Headers of an answer that concern one connection only (RFC 9110, 7.6.1), and those each server writes itself."""

CONNECT_SECONDS = 2
"""Inside one cluster. A node that is gone answers nothing, and another replica waits."""
CHUNK = 64 * 1024
LONGEST_EVENT = 256 * 1024
"""Of a stream's first event. One that is longer is passed on unread."""
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


def session(answer_seconds: float) -> aiohttp.ClientSession:
    """A client without cookies, proxies, decompression or a bound on connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=30),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=answer_seconds),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept-Encoding", "User-Agent"),
        read_bufsize=CHUNK,
    )


def request_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Of what was asked, what the next one needs, as far as it can be written into a head."""
    found = {name: headers[name] for name in PASSED_ON if name in headers}
    return {name: value for name, value in found.items() if value.isascii() and value.isprintable()}


def answer_headers(headers: Mapping[str, str], more: Mapping[str, str]) -> CIMultiDict[str]:
    """Of what was answered, what the caller may see, and ours."""
    kept = CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in KEPT_BACK)
    kept.update(more)
    return kept


async def first_piece(upstream: aiohttp.ClientResponse) -> bytes:
    """All of an answer, or what comes first of a stream. Until then nothing was sent on, and another may be asked."""
    return await upstream.content.readany() if is_stream(upstream) else await upstream.read()


async def first_event(upstream: aiohttp.ClientResponse, longest: int = LONGEST_EVENT) -> tuple[bytes, bytes]:
    """What has come of a stream when its first event is whole, and that event; comments do not count as one."""
    begun = b""
    while len(begun) <= longest:
        if event := _event_in(begun):
            return begun, event
        if not (piece := await upstream.content.readany()):
            return begun, begun.strip()
        begun += piece
    return begun, b""


def _event_in(begun: bytes) -> bytes:
    *whole, _ = _BLANK_LINE.split(begun)
    return next((event for event in whole if event and not event.startswith(b":")), b"")


def is_stream(upstream: aiohttp.ClientResponse) -> bool:
    """Whether the answer comes in pieces that must not wait for each other."""
    return upstream.content_type == "text/event-stream"


def cut(request: web.Request) -> None:
    """End the caller's connection without the end of the body, which is how a caller learns that a stream broke."""
    if request.transport is not None:
        request.transport.abort()
