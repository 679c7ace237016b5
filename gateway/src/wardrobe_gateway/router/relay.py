"""A backend's answer on its way to the client, from the moment the backend has begun to answer."""

import time
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from wardrobe_contracts.state import DEPARTMENT_HEADER, DIGEST_HEADER, VERSION_HEADER

from ..engines.words import said
from ..errors import Refusal
from ..forwarding import answer_headers, cut, is_stream
from .asked import Asked
from .choice import Target
from .metrics import Account
from .usage import Events, Usage, of_answer


@dataclass(frozen=True)
class Answer:
    """An answer that has begun."""

    upstream: aiohttp.ClientResponse
    piece: bytes
    """All of it, or the first piece of a stream."""


async def relay(
    request: web.Request, answer: Answer, asked: Asked, target: Target, account: Account
) -> web.StreamResponse:
    """Pass it on with our headers. Raises Refusal with the engine's words where it is an error."""
    more = {DEPARTMENT_HEADER: target.department, VERSION_HEADER: target.version, DIGEST_HEADER: target.digest}
    upstream = answer.upstream
    if upstream.status >= 400:
        raise Refusal(upstream.status, "engine_refused", said(answer.piece), headers=more)
    headers = answer_headers(upstream.headers, more)
    if is_stream(upstream):
        return await _stream(request, answer, asked, headers, account)
    account.usage, body = of_answer(answer.piece, upstream.headers, hide=asked.hide_usage)
    return web.Response(body=b"[%b]" % body if asked.as_list else body, headers=headers)


async def _stream(
    request: web.Request, answer: Answer, asked: Asked, headers: CIMultiDict[str], account: Account
) -> web.StreamResponse:
    """Pieces as they come. From here on, a failure ends the client's connection: nothing is sent twice."""
    response = web.StreamResponse(headers=headers)
    events = Events(hide_usage=asked.hide_usage)
    account.first_token = time.perf_counter()
    try:
        await response.prepare(request)
        await _pieces(answer, events, response)
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, TimeoutError):
        account.cut = True
        cut(request)
    finally:
        account.usage = events.usage or Usage(completion=events.events)
    return response


async def _pieces(answer: Answer, events: Events, response: web.StreamResponse) -> None:
    piece = answer.piece
    while piece:
        if shown := events.feed(piece):
            await response.write(shown)
        piece = await answer.upstream.content.readany()
    await response.write_eof(events.rest())
