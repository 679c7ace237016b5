"""A pod may be anybody's: what it answers is read with bounds in bytes and time, and leads nowhere else."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from support import resources, serving
from support.fake_cluster import FakeCluster

from wardrobe import podhttp
from wardrobe.api.meta import Key
from wardrobe.deployment.podstates import PodStates
from wardrobe.run.progress import ProgressPoller
from wardrobe_contracts.state import STATE_PATH, RouterState

HOST = "127.0.0.1"
GOOD = serving.Fleet(lambda: None).router().model_dump_json()
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pod:
    """A server that counts how often each path was asked, and how many bytes it got rid of."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sent = 0
        self.cut = asyncio.Event()
        self.often = asyncio.Event()
        self.port = 0

    async def good(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.Response(text=GOOD)

    async def endless(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        stream = web.StreamResponse()
        await stream.prepare(request)
        try:
            while True:
                await stream.write(b" " * podhttp.CHUNK_BYTES)
                self.sent += podhttp.CHUNK_BYTES
        except ConnectionError:
            self.cut.set()
            raise

    async def trickling(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        while True:
            await stream.write(b" ")
            await asyncio.sleep(0.01)

    async def elsewhere(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if len(self.asked) == 3:
            self.often.set()
        return web.Response(status=307, headers={"Location": "/secret"})

    async def bomb(self, _: web.Request) -> web.Response:
        body = gzip.compress(GOOD.encode() + b" " * (64 << 20))
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})


@asynccontextmanager
async def answering(pod: Pod, answer: Answer) -> AsyncIterator[Pod]:
    app = web.Application()
    app.add_routes([web.get(STATE_PATH, answer), web.get("/progress", answer), web.get("/secret", pod.good)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    pod.port = runner.addresses[0][1]
    try:
        yield pod
    finally:
        await runner.cleanup()


async def state_of(pod: Pod, within: float = 1.0) -> RouterState | None:
    states = PodStates(answer_seconds=within)
    try:
        return (await states.ask([HOST], pod.port, RouterState))[0]
    finally:
        await states.close()


async def test_a_pods_state_is_read() -> None:
    pod = Pod()
    async with answering(pod, pod.good):
        assert await state_of(pod) == RouterState.model_validate_json(GOOD)


async def test_an_answer_without_end_is_cut_and_costs_little() -> None:
    pod = Pod()
    async with answering(pod, pod.endless):
        assert await asyncio.wait_for(state_of(pod, within=60.0), 30) is None
        await asyncio.wait_for(pod.cut.wait(), 30)
    # What the sockets' buffers hold was sent and not read.
    assert pod.sent < podhttp.ANSWER_BYTES + (16 << 20)


async def test_a_redirect_is_not_followed() -> None:
    pod = Pod()
    async with answering(pod, pod.elsewhere):
        assert await state_of(pod) is None
    assert pod.asked == [STATE_PATH]


async def test_what_is_packed_is_not_unpacked() -> None:
    pod = Pod()
    async with answering(pod, pod.bomb):
        assert await state_of(pod) is None


async def test_the_deadline_is_for_the_whole_answer() -> None:
    pod = Pod()
    async with answering(pod, pod.trickling):
        assert await asyncio.wait_for(state_of(pod), 30) is None


async def test_a_forged_trainings_progress_is_neither_followed_nor_believed() -> None:
    """The poller goes on with the others."""
    forged, other, cluster = Pod(), Pod(), FakeCluster()
    runs = {name: Key("FineTuneJob", "ward", name) for name in ("forged", "honest")}
    for name in runs:
        cluster.put(resources.run(name), "ward")

    async def honest(request: web.Request) -> web.Response:
        other.asked.append(request.path)
        if len(other.asked) == 2:  # what was read the first time has been written
            other.often.set()
        return web.Response(text='{"stage": "Training", "step": 1, "steps": 2}')

    poller = ProgressPoller(cluster, asyncio.get_running_loop().time, lambda: resources.TIME, every=0.01)
    async with answering(forged, forged.elsewhere), answering(other, honest):
        poller.follow(runs["forged"], f"http://{HOST}:{forged.port}/progress")
        poller.follow(runs["honest"], f"http://{HOST}:{other.port}/progress")
        running = asyncio.create_task(poller.run())
        async with asyncio.timeout(30):
            await forged.often.wait()
            await other.often.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert cluster.objects[runs["honest"]]["status"]["progress"]["step"] == 1
    assert "status" not in cluster.objects[runs["forged"]]
    assert set(forged.asked) == {"/progress"}
