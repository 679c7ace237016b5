"""What pods say of a deployment at rest is looked at without the apiserver, and only what matters wakes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from support import resources, serving

from wardrobe.api.meta import Key
from wardrobe.deployment.lookout import Lookout
from wardrobe.deployment.podstates import PodAnswers, PodStates, gist, noting
from wardrobe_contracts.state import STATE_PATH, AdapterState, AgentState, BackendState, RouterState, Verdict

HOST = "127.0.0.1"
WARD = Key("AdapterDeployment", "ward", "tantanila")
ROUTER = serving.Fleet(lambda: None).router()


class Router:
    """A router that can change its mind, and says when it was asked so often."""

    def __init__(self) -> None:
        self.state = ROUTER
        self.port = 0
        self.asked = 0
        self._often = asyncio.Condition()

    async def answer(self, _: web.Request) -> web.Response:
        async with self._often:
            self.asked += 1
            self._often.notify_all()
        return web.Response(text=self.state.model_dump_json())

    async def asked_again(self, times: int = 3) -> None:
        wanted = self.asked + times
        async with asyncio.timeout(30), self._often:
            await self._often.wait_for(lambda: self.asked >= wanted)


@asynccontextmanager
async def watching() -> AsyncIterator[tuple[Router, Lookout, PodStates, asyncio.Queue[Key]]]:
    router, states = Router(), PodStates()
    woken: asyncio.Queue[Key] = asyncio.Queue()
    app = web.Application()
    app.add_routes([web.get(STATE_PATH, router.answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    router.port = runner.addresses[0][1]
    watch = Lookout(states, woken.put_nowait, every=0.01)
    running = asyncio.create_task(watch.run())
    try:
        yield router, watch, states, woken
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await states.close()
        await runner.cleanup()


async def decided(router: Router, states: PodStates) -> PodAnswers:
    """What a reconcile would have asked."""
    with noting() as asked:
        await asyncio.gather(states.ask([HOST, None], router.port, RouterState))
    return asked


async def test_a_router_that_says_something_else_wakes_its_deployment_once() -> None:
    async with watching() as (router, watch, states, woken):
        watch.follow(WARD, await decided(router, states))
        await router.asked_again()
        assert woken.empty()
        router.state = ROUTER.model_copy(update={"missing_keys": ["cardiology"]})
        assert await asyncio.wait_for(woken.get(), 30) == WARD
        watch.follow(WARD, await decided(router, states))
        await router.asked_again()
        assert woken.empty(), "the decision knew"


async def test_how_much_is_asked_of_a_router_is_no_news() -> None:
    backend = BackendState(address="10.0.0.7:8080", answering=True)
    async with watching() as (router, watch, states, woken):
        router.state = ROUTER.model_copy(update={"backends": [backend]})
        watch.follow(WARD, await decided(router, states))
        router.state = ROUTER.model_copy(update={"backends": [backend.model_copy(update={"in_flight": 7})]})
        await router.asked_again()
        assert woken.empty()


async def test_a_pod_that_no_longer_answers_is_news_and_a_deployment_without_pods_asks_nobody() -> None:
    async with watching() as (router, watch, states, woken):
        asked = await decided(router, states)
        (entry,) = asked.values()
        watch.follow(WARD, {(HOST, 1): entry})
        assert await asyncio.wait_for(woken.get(), 30) == WARD
        watch.follow(WARD, asked)
        await router.asked_again()
        watch.follow(WARD, {})
        before = router.asked
        await asyncio.gather(*(states.ask([HOST], router.port, RouterState) for _ in range(3)))
        assert router.asked <= before + 4, "at most the round that was under way"


def test_a_verdict_is_news_and_a_proof_that_came_out_the_same_is_not() -> None:
    agent = serving.Fleet(lambda: None).agent()

    def saying(**changed: object) -> AgentState:
        adapter = AdapterState.model_validate(
            {"digest": resources.BASE_DIGEST, "verdict": "Applied", "reason": "Proved", "since": resources.TIME}
            | changed
        )
        return agent.model_copy(update={"adapters": {"cardiology-v1": adapter}})

    assert gist(saying()) == gist(saying(in_flight=3, since="2026-02-02T00:00:00Z", timings={"prove": 1.0}))
    assert gist(saying()) != gist(saying(verdict=Verdict.WRONG_ADAPTER))
    assert gist(saying()) != gist(None)
