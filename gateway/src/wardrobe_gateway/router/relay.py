"""A backend's answer on its way to the client, from the moment the backend has begun to answer."""

import time
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from wardrobe_contracts.state import ADAPTER_HEADER, DEPARTMENT_HEADER, DIGEST_HEADER

from ..engines.messages import error_message
from ..errors import ApiError
from ..forwarding import answer_headers, cut, is_stream
from .choice import Target
from .metrics import Account
from .requests import ParsedRequest
from .usage import Events, Usage, of_answer


@dataclass(frozen=True)
class Answer:
    """An answer that has begun."""

    upstream: aiohttp.ClientResponse
    piece: bytes
    """All of it, or the first piece of a stream."""


async def relay(
    request: web.Request, answer: Answer, parsed: ParsedRequest, target: Target, account: Account
) -> web.StreamResponse:
    """Pass it on with our headers. Raises ApiError with the engine's words where it is an error."""
    more = {DEPARTMENT_HEADER: target.department, ADAPTER_HEADER: target.adapter, DIGEST_HEADER: target.digest}
    upstream = answer.upstream
    if upstream.status >= 400:
        raise ApiError(upstream.status, "engine_refused", error_message(answer.piece), headers=more)
    headers = answer_headers(upstream.headers, more)
    if is_stream(upstream):
        return await _stream(request, answer, parsed, headers, account)
    account.usage, body = of_answer(answer.piece, upstream.headers, hide=parsed.hide_usage)
    return web.Response(body=b"[%b]" % body if parsed.as_list else body, headers=headers)


async def _stream(
    request: web.Request, answer: Answer, parsed: ParsedRequest, headers: CIMultiDict[str], account: Account
) -> web.StreamResponse:
    """Pieces as they come. From here on, a failure ends the client's connection: nothing is sent twice."""
    response = web.StreamResponse(headers=headers)
    events = Events(hide_usage=parsed.hide_usage)
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
