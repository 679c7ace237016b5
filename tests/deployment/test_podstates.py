"""Who does not answer is known, and for how long."""

import socket

from aiohttp import web
from support.serving import Fleet

from wardrobe.deployment.podstates import PodStates
from wardrobe_contracts.routes import AGENT_PORT
from wardrobe_contracts.state import STATE_PATH, AgentState

NOBODY = "127.61.61.61"
"""Loopback, and no test listens there."""


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_silence_counts_from_the_first_question_without_an_answer() -> None:
    clock = Clock()
    states = PodStates(clock)
    assert states.silent_seconds(NOBODY) == 0.0
    assert states.silent_seconds(None) == 0.0
    assert await states.ask([NOBODY], AGENT_PORT, AgentState) == [None]
    clock.seconds = 3.0
    assert await states.ask([NOBODY], AGENT_PORT, AgentState) == [None]
    assert states.silent_seconds(NOBODY) == 3.0
    await states.close()


async def test_one_answer_ends_the_silence() -> None:
    clock = Clock()
    states = PodStates(clock)
    with socket.socket() as probe:
        probe.bind((NOBODY, 0))
        port: int = probe.getsockname()[1]
    await states.ask([NOBODY], port, AgentState)
    clock.seconds = 3.0
    assert states.silent_seconds(NOBODY) == 3.0
    agent = await serve(NOBODY, port, Fleet(lambda: None).agent())
    assert [found is not None for found in await states.ask([NOBODY], port, AgentState)] == [True]
    assert states.silent_seconds(NOBODY) == 0.0
    await agent.cleanup()
    await states.close()


async def serve(address: str, port: int, state: AgentState) -> web.AppRunner:
    async def show(_: web.Request) -> web.Response:
        return web.Response(text=state.model_dump_json(by_alias=True), content_type="application/json")

    app = web.Application()
    app.add_routes([web.get(STATE_PATH, show)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    return runner
