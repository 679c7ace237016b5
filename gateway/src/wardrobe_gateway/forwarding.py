"""What agent and router share in passing requests on: headers, request bodies, streams."""

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from .errors import Refusal

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
    """Of what was asked, what the next one needs."""
    return {name: headers[name] for name in PASSED_ON if name in headers}


def answer_headers(headers: Mapping[str, str], more: Mapping[str, str]) -> CIMultiDict[str]:
    """Of what was answered, what the caller may see, and ours."""
    kept = CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in KEPT_BACK)
    kept.update(more)
    return kept


async def json_body(request: web.Request) -> dict[str, Any]:
    """The request's JSON object. Raises Refusal where it is none, or too large (`client_max_size`)."""
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise Refusal(413, "request_too_large", f"the request is larger than {error.text}") from error
    try:
        payload = json.loads(body)
    except ValueError as error:
        raise Refusal(400, "invalid_json", f"the request is not JSON: {error}") from error
    if not isinstance(payload, dict):
        raise Refusal(400, "invalid_json", "the request is not a JSON object")
    return payload


async def first_piece(upstream: aiohttp.ClientResponse) -> bytes:
    """All of an answer, or what comes first of a stream. Until then nothing was sent on, and another may be asked."""
    return await upstream.content.readany() if is_stream(upstream) else await upstream.read()


def is_stream(upstream: aiohttp.ClientResponse) -> bool:
    """Whether the answer comes in pieces that must not wait for each other."""
    return upstream.content_type == "text/event-stream"


def cut(request: web.Request) -> None:
    """End the caller's connection without the end of the body, which is how a caller learns that a stream broke."""
    if request.transport is not None:
        request.transport.abort()
