"""An engine that hangs is told from one that is only busy: by what comes of it, never by how long one request takes."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from support.artifacts import Artifact, publish
from support.gateway import Pod, routes, until

from wardrobe_contracts.engine_process import HUNG_FILE, STATE_FILE, Hung, ProcessState
from wardrobe_contracts.state import Verdict
from wardrobe_gateway.agent.patience import Patience

from .test_agent import ask, streaming

STEPS = "wardrobe_engine_batch_forward_duration_seconds_count"
STILL = Patience(check=2.0, silent=1.0, hung=4.0)
Killed = Callable[[], Hung | None]
OWES = "it says that it is healthy, and a token that it was asked for does not come"


@pytest.fixture
def killed(pod: Pod) -> Killed:
    """What the wrapper of the engine's process is told of its hanging, once it is."""
    pod.control.mkdir()
    (pod.control / STATE_FILE).write_text(ProcessState(incarnation="the first").model_dump_json(by_alias=True))
    file = pod.control / HUNG_FILE
    return lambda: Hung.model_validate_json(file.read_bytes()) if file.exists() else None


@pytest.fixture
async def v1(pod: Pod, store: Path, killed: Killed) -> Artifact:
    """Served and proved."""
    made = publish(store, "cardiology-v1")
    pod.apply(routes([made.routed()], {"cardiology": made.name}))
    await pod.proved(made.name)
    return made


def counting(steps: Iterator[int]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The metrics of an engine whose model has made so many steps at each look; what its server counts goes up."""

    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text=f'{STEPS}{{method="decode"}} {next(steps)}.0\nhttp_requests_total {time.time_ns()}\n')

    return page


@asynccontextmanager
async def one_stream(pod: Pod, adapter: str) -> AsyncIterator[asyncio.Semaphore]:
    """A request under way, and what lets its next tokens through. Whatever comes after it is never answered."""
    pieces = asyncio.Semaphore(1)

    async def pace(_: int) -> None:
        await pieces.acquire()

    pod.engine.pace = pace
    async with streaming(pod, adapter, max_tokens=1000) as answer:
        assert answer.status == 200
        pod.engine.faults.hangs = True
        yield pieces


# It does not say that it is healthy


@pytest.mark.parametrize("patience", [Patience(check=0.05, silent=2.0)])
async def test_an_engine_too_busy_to_say_that_it_is_well_is_down_only_without_any_progress(
    pod: Pod, v1: Artifact
) -> None:
    pod.engine.faults.silent_health = True
    began = time.monotonic()
    while time.monotonic() < began + 3:  # longer than it may be silent
        assert (await ask(pod, v1.name))[0] == 200
    assert pod.agent.state().serves(v1.name)
    assert pod.agent.state().engine.starts == 1
    await pod.judged(v1.name, Verdict.PENDING)
    pod.engine.faults.silent_health = False
    await pod.proved(v1.name)


@pytest.mark.parametrize("patience", [Patience(check=0.05, hung=2.0)])
async def test_an_engine_that_says_nothing_is_killed_only_without_any_progress(
    pod: Pod, v1: Artifact, killed: Killed
) -> None:
    pod.engine.faults.silent_health = True
    began = time.monotonic()
    while time.monotonic() < began + 3:
        assert (await ask(pod, v1.name))[0] == 200
    assert killed() is None
    assert await until(killed) == Hung(
        incarnation="the first",
        message="GET /health: no answer within 0.05 s, nor has anything else come of it for 2 s",
    )


@pytest.mark.parametrize(  # proofs that are made anew more often than what hangs is killed
    "patience", [Patience(check=0.05, silent=1e9, hung=2.0, proof=0.3, retry=0.0)]
)
async def test_a_proof_that_nobody_answers_is_no_sign_of_life(pod: Pod, v1: Artifact, killed: Killed) -> None:
    pod.engine.faults.silent_health = pod.engine.faults.hangs = True
    pod.reconciler.adapters.change(v1.name, due=0.0)
    pod.reconciler.changed()
    await until(killed)


# It does


@pytest.mark.parametrize("patience", [STILL])
async def test_an_engine_whose_model_stands_still_is_down_and_killed_however_healthy_it_says_that_it_is(
    pod: Pod, v1: Artifact, killed: Killed
) -> None:
    pod.engine.metrics = counting(itertools.repeat(7))
    pod.engine.faults.hangs = True  # and nobody asks it for anything
    await pod.judged(v1.name, Verdict.PENDING)
    assert pod.agent.state().engine.message == OWES
    assert killed() is None
    assert await until(killed) == Hung(
        incarnation="the first", message=f"{OWES}, nor has anything else come of it for 4 s"
    )


@pytest.mark.parametrize("patience", [STILL])
async def test_one_that_stands_still_under_requests_is_killed_whatever_its_clients_do(
    pod: Pod, v1: Artifact, killed: Killed
) -> None:
    """They give up and come again, which its server counts and the model does not."""
    pod.engine.faults.hangs = True

    async def impatient() -> None:
        while True:
            asking = asyncio.create_task(ask(pod, v1.name))
            await asyncio.wait([asking], timeout=0.2)
            asking.cancel()

    clients = asyncio.create_task(impatient())
    await until(killed)
    clients.cancel()


@pytest.mark.parametrize("patience", [STILL])
async def test_one_that_stands_still_and_has_no_place_for_a_token_is_killed_too(
    pod: Pod, v1: Artifact, killed: Killed
) -> None:
    pod.engine.faults.busy = True
    await until(killed)


@pytest.mark.parametrize("patience", [replace(STILL, proof=0.3, retry=0.0)])
async def test_a_first_proof_that_nobody_answers_is_no_sign_of_the_model_either(
    pod: Pod, v1: Artifact, store: Path, killed: Killed
) -> None:
    pod.engine.faults.hangs = True
    v2 = publish(store, "cardiology-v2")
    pod.apply(routes([v1.routed(), v2.routed()], {"cardiology": v1.name}, generation=2))
    await until(killed)


@pytest.mark.parametrize("patience", [Patience(check=2.0, silent=1.0)])
async def test_one_that_goes_on_by_itself_is_up_again_and_proved_anew(pod: Pod, v1: Artifact, killed: Killed) -> None:
    pod.engine.faults.hangs = True
    await pod.judged(v1.name, Verdict.PENDING)
    pod.engine.faults.hangs = False
    await pod.proved(v1.name)
    assert pod.agent.state().engine.starts == 2
    assert killed() is None


# It is busy


@pytest.mark.parametrize("patience", [STILL])
async def test_an_engine_that_is_late_with_every_answer_stays_up(pod: Pod, v1: Artifact, killed: Killed) -> None:
    asked = len(pod.engine.log)
    pod.engine.faults.late = 0.7
    await until(lambda: len(pod.engine.log) >= asked + 3)  # tokens, one after the other
    assert pod.agent.state().engine.starts == 1
    assert pod.agent.state().serves(v1.name)
    assert killed() is None


@pytest.mark.parametrize("patience", [STILL])
async def test_an_engine_with_a_long_queue_stays_up_as_long_as_it_counts_steps(
    pod: Pod, v1: Artifact, killed: Killed
) -> None:
    looks: list[int] = []

    def steps() -> Iterator[int]:
        while True:
            looks.append(len(looks))
            yield len(looks)

    pod.engine.metrics = counting(steps())
    pod.engine.faults.hangs = True  # as one that reads a prompt of hours, and has nothing for anybody meanwhile
    await until(lambda: len(looks) >= 6)  # a second apart
    assert pod.agent.state().engine.starts == 1
    assert pod.agent.state().serves(v1.name)
    assert killed() is None
    pod.engine.metrics = counting(itertools.repeat(7))
    await until(killed)


@pytest.mark.parametrize("patience", [STILL])
async def test_an_engine_that_gets_on_with_one_request_stays_up(pod: Pod, v1: Artifact, killed: Killed) -> None:
    async with one_stream(pod, v1.name) as pieces:
        ended = time.monotonic() + 6
        while time.monotonic() < ended:
            pieces.release()
            await asyncio.sleep(0.1)
        assert pod.agent.state().engine.starts == 1
        assert pod.agent.state().serves(v1.name)
        assert killed() is None
        await until(killed)
