"""A watch goes on where it was cut, lists again where it has expired, and outlives what it cannot read."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from wardrobe.kube.client import KubeClient
from wardrobe.kube.watch import Watch
from wardrobe.metrics import Metrics

Manifest = dict[str, Any]


def job(name: str, version: int) -> Manifest:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def event(kind: str, found: Manifest) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


SILENCE = b""
"""A watch that says nothing and does not end."""
EXPIRED = event("ERROR", {"kind": "Status", "code": 410})


class Apiserver:
    """Answers listings by pages, and each watch with what is next in a script."""

    def __init__(self, *script: int | bytes) -> None:
        self.pages: list[list[Manifest]] = [[job("a", 1)], [job("b", 2)]]
        self.script = list(script)
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return self._page(int(request.query.get("continue", 0)))
        self.asked.append(request.query["resourceVersion"])
        said = self.script.pop(0) if self.script else None
        if isinstance(said, int):
            return web.json_response({"message": "no"}, status=said)
        stream = web.StreamResponse()
        await stream.prepare(request)
        if not said:
            await asyncio.Event().wait()
        await stream.write(said or b"")
        return stream

    def _page(self, number: int) -> web.Response:
        if number == 0:
            self.asked.append("list")
        more = str(number + 1) if number + 1 < len(self.pages) else ""
        metadata = {"resourceVersion": "10", "continue": more}
        return web.json_response({"apiVersion": "batch/v1", "metadata": metadata, "items": self.pages[number]})


@asynccontextmanager
async def watched(
    apiserver: Apiserver, silent_seconds: float = 30.0
) -> AsyncIterator["asyncio.Queue[tuple[str | None, str]]"]:
    """What is handed over, while the block runs."""
    told: asyncio.Queue[tuple[str | None, str]] = asyncio.Queue()

    def deliver(kind: str | None, found: Manifest) -> None:
        if found["metadata"]["name"] == "forged":
            raise KeyError("labels")
        told.put_nowait((kind, found["metadata"]["name"]))

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", apiserver.answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with client.ApiClient(configuration) as connection:
        kube = KubeClient(connection, Metrics(), silent_seconds)
        watch = Watch(kube, "Job", "ward", "a=b", deliver, reconnect=0.0, unavailable=0.0)
        running = asyncio.create_task(watch.run())
        try:
            yield told
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await runner.cleanup()


async def told_of(queue: "asyncio.Queue[tuple[str | None, str]]", number: int) -> list[tuple[str | None, str]]:
    async with asyncio.timeout(30):
        return [await queue.get() for _ in range(number)]


LISTED = [(None, "a"), (None, "b")]


async def test_all_pages_are_listed_and_a_cut_watch_goes_on_where_it_was() -> None:
    apiserver = Apiserver(event("ADDED", job("c", 11)), event("BOOKMARK", job("", 15)), event("DELETED", job("c", 16)))
    async with watched(apiserver) as told:
        assert await told_of(told, 4) == [*LISTED, ("ADDED", "c"), ("DELETED", "c")]
    assert apiserver.asked[:4] == ["list", "10", "11", "15"]


@pytest.mark.parametrize("expired", [EXPIRED, 410], ids=["in the stream", "at its start"])
async def test_a_watch_that_has_expired_lists_again(expired: bytes | int) -> None:
    apiserver = Apiserver(event("ADDED", job("c", 11)), expired, event("ADDED", job("d", 12)))
    async with watched(apiserver) as told:
        assert await told_of(told, 6) == [*LISTED, ("ADDED", "c"), *LISTED, ("ADDED", "d")]
    assert apiserver.asked[:5] == ["list", "10", "11", "list", "10"]


async def test_refusals_and_halves_of_lines_cost_no_event() -> None:
    half = event("ADDED", job("c", 11)) + b'{"type": "ADD'
    apiserver = Apiserver(500, half, 429, event("ADDED", job("d", 12)))
    async with watched(apiserver) as told:
        assert await told_of(told, 4) == [*LISTED, ("ADDED", "c"), ("ADDED", "d")]
    assert apiserver.asked[:5] == ["list", "10", "10", "11", "11"]


async def test_an_event_longer_than_a_line_may_be_is_listed_instead_of_asked_for_again_and_again() -> None:
    long = job("c", 11) | {"spec": {"env": "x" * 5 * 2**20}}
    apiserver = Apiserver(event("ADDED", long), event("ADDED", job("d", 12)))
    async with watched(apiserver) as told:
        assert await told_of(told, 5) == [*LISTED, *LISTED, ("ADDED", "d")]
    assert apiserver.asked[:4] == ["list", "10", "list", "10"]


async def test_a_watch_whose_connection_died_without_a_word_is_begun_anew() -> None:
    apiserver = Apiserver(event("ADDED", job("c", 11)), SILENCE, event("ADDED", job("d", 12)))
    async with watched(apiserver, silent_seconds=2.0) as told:
        assert await told_of(told, 4) == [*LISTED, ("ADDED", "c"), ("ADDED", "d")]
    assert apiserver.asked[:4] == ["list", "10", "11", "11"]


async def test_an_object_of_somebody_elses_making_stops_nothing() -> None:
    apiserver = Apiserver(event("ADDED", job("forged", 11)) + event("ADDED", job("c", 12)))
    async with watched(apiserver) as told:
        assert await told_of(told, 3) == [*LISTED, ("ADDED", "c")]
