"""Agent and router as they are shipped: processes on a real apiserver, before a test engine."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from support import outages
from support.apiserver_proxy import ApiserverProxy, proxying
from support.artifacts import Artifact, publish
from support.cluster import unique
from support.fake_engine import FakeEngine
from support.gateway import Server, routes, until
from support.gateway_processes import Cluster, Program, running
from support.waiting import HANG, eventually

from devcluster.controlplane import ControlPlane
from wardrobe_contracts.routes import Routes
from wardrobe_contracts.state import ADAPTER_HEADER

pytestmark = pytest.mark.controlplane

T = TypeVar("T")


@dataclass
class Ward:
    """Two engine pods and a router."""

    cluster: Cluster
    proxy: ApiserverProxy
    engines: list[FakeEngine]
    agents: list[Program]
    router: Program
    c1: Artifact
    c2: Artifact

    def routes(self, live: Artifact, generation: int) -> Routes:
        return routes([self.c1.routed(), self.c2.routed()], {"cardiology": live.name}, generation=generation)

    async def await_generation(self, generation: int) -> None:
        def there() -> bool:
            return self.router.router_state().generation == generation

        await threaded(lambda: eventually(there, every=0.01, what=self.router.logged))

    async def await_pods(self) -> None:
        """Until the router knows that both serve."""

        def there() -> bool:
            return all(self.c1.name in backend.serves for backend in self.router.router_state().backends)

        await threaded(lambda: eventually(there, every=0.02, what=self.router.logged))

    async def answers(self, status: int) -> None:
        """Wait for a status."""
        async with asyncio.timeout(HANG):
            while True:
                if (await self.ask())[0] == status:
                    return
                await asyncio.sleep(0.02)

    async def ask(self, **more: Any) -> tuple[int, str]:
        """Status and adapter of one answer."""
        body = {"model": "cardiology", "messages": [{"role": "user", "content": "how much? "}], **more}
        headers = {"Authorization": "Bearer heart-of-cardiology"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.router.url}/v1/chat/completions", json=body) as answer,
        ):
            await answer.read()
            return answer.status, answer.headers.get(ADAPTER_HEADER, "")


async def threaded(work: Callable[[], T]) -> T:
    """Blocking work, while this loop serves the test engines."""
    return await asyncio.to_thread(work)


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[ApiserverProxy]:
    with proxying(control_plane.kubeconfig) as made:
        yield made


@pytest.fixture
async def ward(control_plane: ControlPlane, proxy: ApiserverProxy, tmp_path: Path, store: Path) -> AsyncIterator[Ward]:
    namespace = unique("gateway")
    await threaded(lambda: control_plane.run("create", "namespace", namespace))
    cluster = Cluster(control_plane, namespace, tmp_path, proxy.kubeconfig(tmp_path))
    engines = [FakeEngine(), FakeEngine()]
    servers = [Server(engine.app) for engine in engines]
    for server in servers:
        await server.start()
    agents = [cluster.agent(f"agent-{n}", store, server.url) for n, server in enumerate(servers)]
    c1, c2 = publish(store, "cardiology-v1"), publish(store, "cardiology-v2")
    made = Ward(cluster, proxy, engines, agents, cluster.router("router"), c1, c2)
    cluster.key("cardiology", "heart-of-cardiology")
    with running(*agents, made.router):
        await threaded(lambda: cluster.route(made.routes(c1, 1)))
        for number, agent in enumerate(agents):
            await threaded(partial(cluster.endpoint, f"pod-{number}", agent))
        for program in (*agents, made.router):
            await threaded(program.await_ready)
        await made.await_pods()
        yield made
    for server in servers:
        await server.stop()


async def test_routes_arrive_and_nothing_fails(ward: Ward) -> None:
    assert await ward.ask() == (200, ward.c1.name)
    for generation in range(2, 8):
        live = (ward.c1, ward.c2)[generation % 2]
        await threaded(partial(ward.cluster.route, ward.routes(live, generation)))
        await ward.await_generation(generation)
        assert await ward.ask() == (200, live.name)


async def test_with_the_apiserver_away_all_goes_on_restarts_included(ward: Ward) -> None:
    await threaded(lambda: outages.stop_apiserver(ward.cluster.plane))
    try:
        assert await ward.ask() == (200, ward.c1.name)
        ward.router.kill()
        ward.router.start()
        await threaded(ward.router.await_ready)
        assert await ward.ask() == (200, ward.c1.name)
        assert not (await threaded(ward.router.router_state)).connected
        for agent in ward.agents:
            agent.kill()
            agent.start()
        for agent in ward.agents:
            await threaded(agent.await_ready)
        assert await ward.ask() == (200, ward.c1.name)
    finally:
        await threaded(ward.cluster.plane.start_apiserver)
    await threaded(lambda: ward.cluster.route(ward.routes(ward.c2, 2)))
    await ward.await_generation(2)
    assert await ward.ask() == (200, ward.c2.name)
    assert (await threaded(ward.router.router_state)).connected


async def test_watches_survive_cuts_expiry_and_a_busy_apiserver(ward: Ward) -> None:
    generation = 1
    for trouble in (ward.proxy.cut, ward.proxy.expire_watches, ward.proxy.cut):
        await threaded(trouble)
        generation += 1
        live = (ward.c1, ward.c2)[generation % 2]
        await threaded(partial(ward.cluster.route, ward.routes(live, generation)))
        await ward.await_generation(generation)
        assert await ward.ask() == (200, live.name)
    ward.proxy.refusing = True
    ward.proxy.cut()
    await threaded(lambda: eventually(lambda: ward.proxy.refused > 3, what="refusals"))
    assert (await ward.ask())[0] == 200
    ward.proxy.refusing = False
    await threaded(lambda: ward.cluster.route(ward.routes(ward.c1, 9)))
    await ward.await_generation(9)


async def test_routes_deleted_by_mistake_stay_in_force(ward: Ward) -> None:
    await threaded(
        lambda: ward.cluster.plane.run(
            "delete", "configmap", "tantanila-routes", f"--namespace={ward.cluster.namespace}"
        )
    )
    state = await threaded(lambda: eventually(lambda: _with_problem(ward.router), what=ward.router.logged))
    assert "gone" in state
    assert await ward.ask() == (200, ward.c1.name)
    await threaded(lambda: ward.cluster.route(ward.routes(ward.c2, 1)))
    await threaded(lambda: eventually(lambda: not _with_problem(ward.router), what=ward.router.logged))
    assert await ward.ask() == (200, ward.c2.name)


def _with_problem(router: Program) -> str:
    return router.router_state().problem


async def test_a_killed_agent_costs_no_request(ward: Ward) -> None:
    ward.agents[0].kill()
    assert {await ward.ask() for _ in range(6)} == {(200, ward.c1.name)}
    ward.agents[0].start()
    await threaded(ward.agents[0].await_ready)


async def test_keys_on_disk_are_read_again(ward: Ward) -> None:
    ward.cluster.key("cardiology", "another-of-theirs")
    await ward.answers(401)
    ward.cluster.key("cardiology", "another-of-theirs", "heart-of-cardiology")
    await ward.answers(200)


@pytest.mark.parametrize("part", ["router", "agent"])
async def test_sigterm_drains(ward: Ward, part: str) -> None:
    release = asyncio.Event()

    async def held(number: int) -> None:
        if number:
            await release.wait()

    for engine in ward.engines:
        engine.pace = held
    streams = [asyncio.create_task(ward.ask(stream=True)) for _ in range(2)]  # one on each pod
    await until(lambda: [engine.under_way for engine in ward.engines] == [1, 1])
    program = ward.router if part == "router" else ward.agents[0]
    assert program.process is not None
    program.terminate()
    await threaded(lambda: eventually(lambda: program.get("/readyz")[0] == 503, every=0.01, what=program.logged))
    assert await ward.ask() == (200, ward.c1.name)  # still taken: not everybody knows yet
    await threaded(lambda: eventually(program.refuses_requests, what=program.logged))
    assert (program.get("/readyz")[0], program.get("/healthz")[0]) == (503, 200)
    assert program.process.poll() is None
    release.set()
    assert await asyncio.gather(*streams) == [(200, ward.c1.name)] * 2
    ended = threading.Thread(target=program.process.wait)
    ended.start()
    await threaded(lambda: ended.join(HANG))
    assert program.process.returncode == 0
