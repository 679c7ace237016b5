"""What comes first of a stream, however it comes in pieces."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from support.gateway import Server

from wardrobe_gateway.forwarding import LONGEST_EVENT, first_event


async def read(*pieces: bytes, longest: int = LONGEST_EVENT) -> tuple[bytes, bytes, bytes]:
    """What has come with the first event, that event, and the rest of a stream that is sent in these pieces."""
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0)
        await go_on.wait()
        return response

    def app() -> web.Application:
        made = web.Application()
        made.router.add_get("/", answer)
        return made

    server = Server(app)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session, session.get(server.url) as upstream:
            if any(b"\n\n" in piece or b"\r\n\r\n" in piece for piece in pieces if not piece.startswith(b":")):
                begun, event = await first_event(upstream, longest)
                go_on.set()
            else:  # nothing is whole before the end
                go_on.set()
                begun, event = await first_event(upstream, longest)
            return begun, event, await upstream.read()
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("pieces", "event"),
    [
        ([b'data: {"a": 1}\n\ndata: 2\n\n'], b'data: {"a": 1}'),
        ([b'data: {"a"', b": 1}\n", b"\ndata: 2\n\n"], b'data: {"a": 1}'),
        ([b": keep-alive\n\n", b"data: 1\n\n"], b"data: 1"),
        ([b"event: x\r\ndata: 1\r\n\r\n"], b"event: x\r\ndata: 1"),
        ([b"data: 1"], b"data: 1"),
        ([], b""),
    ],
)
async def test_the_first_event_is_whole_and_nothing_of_the_stream_is_lost(pieces: list[bytes], event: bytes) -> None:
    begun, found, rest = await read(*pieces)
    assert found == event
    assert begun + rest == b"".join(pieces)


async def test_an_event_without_an_end_is_not_waited_for() -> None:
    begun, found, rest = await read(b"data: " + b"x" * 20, longest=10)
    assert (begun + rest, found) == (b"data: " + b"x" * 20, b"")
