"""Agent and router before the real vLLM, started as the operator has it started, with the trainer's own probes.

One vLLM for all, which takes half a minute to start: each test leaves it without adapters.
"""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import engine_servers, gateway, real_engines
from support.artifacts import Artifact
from support.gateway import PATIENCE, Pod, RouterProcess, routes
from support.waiting import HANG

from wardrobe.engines import vllm
from wardrobe_contracts.base import Variant
from wardrobe_contracts.engine_process import HUNG_FILE, STATE_FILE, Hung, ProcessState
from wardrobe_contracts.engines import EngineType, Precision
from wardrobe_contracts.engines.vllm import BASE_NAME
from wardrobe_contracts.state import ADAPTER_HEADER, Reason, Verdict
from wardrobe_gateway.agent.patience import Patience
from wardrobe_gateway.engines import EngineLacksError, EngineRejectedError
from wardrobe_gateway.wrapper.wrapper import descendants

CHAT = "/v1/chat/completions"
KEYS = {"cardiology": "heart-of-cardiology", "paediatrics": "child-of-paediatrics"}

pytestmark = pytest.mark.vllm


@dataclass
class Engine:
    """A vLLM that can be killed and started again."""

    command: list[str]
    variables: dict[str, str]
    port: int
    log: Path
    running: list[AbstractContextManager[Any]] = field(default_factory=list)
    pid: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        server = real_engines.server(self.command, self.port, self.log, self.variables)
        self.pid = server.__enter__().pid
        self.running.append(server)

    def core(self) -> int:
        """The process that has the model."""
        found = [pid for pid in descendants(self.pid) if b"EngineCore" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(found) == 1, found
        return found[0]

    def kill(self) -> None:
        self.running.pop().__exit__(None, None, None)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Artifact]]:
    """A store, and what is in it."""
    return real_engines.record(tmp_path_factory.mktemp("real"), Variant.NONE)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """With the operator's own command line, on a base that would have requests sampled coldly."""
    folder = tmp_path_factory.mktemp("vllm")
    base = Path(shutil.copytree(real_engines.MODEL, folder / "base"))
    said = base / "generation_config.json"
    said.write_text(json.dumps(json.loads(said.read_text()) | {"do_sample": True, "temperature": 0.01}))
    start = engine_servers.vllm_start(folder, base)
    started = Engine(start.command, start.variables, start.port, folder / "log")
    started.start()
    try:
        yield started
    finally:
        started.kill()


@asynccontextmanager
async def ward(
    engine: Engine, artifacts: tuple[Path, dict[str, Artifact]], cache: Path, patience: Patience = PATIENCE
) -> AsyncIterator[tuple[Pod, RouterProcess, dict[str, Artifact]]]:
    """A pod with all three adapters in its set, and a router."""
    store, made = artifacts
    async with gateway.pod(
        store,
        cache,
        engine_url=engine.url,
        engine=EngineType.VLLM,
        precision=Precision.FLOAT32,
        patience=patience,
        answer_seconds=60,
    ) as pod:
        async with gateway.router(pod, keys=KEYS, answer_seconds=60) as router:
            point(pod, router, made, "cardiology-v2")
            yield pod, router, made
        for artifact in made.values():
            await pod.run_time_engine.unload(artifact.name)


def point(pod: Pod, router: RouterProcess, made: dict[str, Artifact], cardiology: str, generation: int = 1) -> None:
    """Cardiology at one of its adapters, paediatrics at its only one."""
    live = {"cardiology": made[cardiology].name, "paediatrics": made["paediatrics-v1"].name}
    given = routes([artifact.routed() for artifact in made.values()], live, generation=generation)
    pod.apply(given)
    router.apply(given)


async def post(url: str, model: str, key: str = "", **more: Any) -> tuple[int, str, str]:
    """Status, the adapter that answered, and the body."""
    messages = [{"role": "user", "content": "What is atrial fibrillation?"}]
    body = {"model": model, "messages": messages, "max_tokens": 12, "temperature": 0, **more}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"} if key else {}) as session,
        session.post(url + CHAT, json=body) as answer,
    ):
        return answer.status, answer.headers.get(ADAPTER_HEADER, ""), await answer.text()


def said(body: str) -> str:
    text: str = json.loads(body)["choices"][0]["message"]["content"]
    return text


async def test_loaded_proved_answered_rolled_back_and_unloaded(
    engine: Engine, artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    async with ward(engine, artifacts, tmp_path / "cache", Patience(leave=0.0)) as (pod, router, made):
        for artifact in made.values():
            state = await pod.judged(artifact.name, Verdict.APPLIED, within=HANG)
            print(f"\n{artifact.name} in {state.timings.prove} s: {state.numbers}")  # noqa: T201  for -s
            assert state.numbers is not None
            assert state.numbers.own < state.numbers.allowed / 2
        v1, v2, child = (made[name].name for name in real_engines.NAMES)
        await router.sees(v2, pod.server.address)
        status, adapter, after = await post(router.server.url, "cardiology", KEYS["cardiology"])
        assert (status, adapter) == (200, v2)
        other = await post(router.server.url, "paediatrics", KEYS["paediatrics"])
        assert other[:2] == (200, child)
        assert said(other[2]) != said(after)
        streamed = await post(router.server.url, "cardiology", KEYS["cardiology"], stream=True)
        assert streamed[:2] == (200, v2)
        assert streamed[2].endswith("data: [DONE]\n\n")
        point(pod, router, made, "cardiology-v1", generation=2)  # back
        assert (await post(router.server.url, "cardiology", KEYS["cardiology"]))[:2] == (200, v1)
        last = routes([made["cardiology-v1"].routed()], {"cardiology": v1}, generation=3)
        pod.apply(last)
        await gateway.until(lambda: pod.reconciler.health.listed == {v1}, what="unloaded", within=HANG)
        assert await pod.run_time_engine.loaded() == {v1}
        assert (await post(pod.server.url, v2))[0] == 421


async def test_what_is_asked_for_wrongly(
    engine: Engine, artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    async with ward(engine, artifacts, tmp_path / "cache") as (pod, _, made):
        await pod.proved(made["cardiology-v2"].name, within=HANG)
        name = made["cardiology-v2"].name
        assert (await post(pod.server.url, "cardiology-v9-00000000"))[0] == 421
        assert (await post(pod.server.url, BASE_NAME))[0] == 421
        assert (await post(pod.server.url, name, prompt_logprobs=1))[0] == 422
        assert (await post(pod.server.url, name, n=1, presence_penalty=0, user="a nurse"))[0] == 200
        too_long = [{"role": "user", "content": "fibrillation " * 2000}]
        assert (await post(pod.server.url, name, messages=too_long))[0] == 400
        assert (await post(pod.server.url, name, messages=too_long, stream=True))[0] == 400
        asked = {"inputs": "Hello", "parameters": {"adapter_id": name}}
        async with aiohttp.ClientSession() as session, session.post(pod.server.url + "/generate", json=asked) as answer:
            assert answer.status == 404
            assert "does not answer at /generate; ask at /v1/chat/completions" in await answer.text()


async def test_a_request_that_is_silent_on_sampling_is_sampled_as_everywhere(
    engine: Engine, artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    """And not as the base's generation_config.json says, which would be as good as greedy."""
    async with ward(engine, artifacts, tmp_path / "cache") as (pod, _, made):
        name = made["cardiology-v2"].name
        await pod.proved(name, within=HANG)
        answers = [await post(pod.server.url, name, temperature=None, seed=seed) for seed in range(3)]
        assert len({said(body) for _, _, body in answers}) > 1


async def test_a_siblings_weights_under_an_adapters_name_are_found_out(
    engine: Engine, artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    store, made = artifacts
    v1, v2 = made["cardiology-v1"], made["cardiology-v2"]
    swapped = {"lora_name": v1.name, "lora_path": str(store / v2.routed().artifact)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(engine.url + "/v1/load_lora_adapter", json=swapped) as answer,
    ):
        assert answer.status == 200, await answer.text()
    async with ward(engine, artifacts, tmp_path / "cache") as (pod, _, _):
        state = await pod.judged(v1.name, Verdict.WRONG_ADAPTER, within=HANG)
        assert state.reason is Reason.ANSWERS_AS_OTHER
        assert (await post(pod.server.url, v1.name))[0] == 421
        await pod.proved(v2.name, within=HANG)


async def test_what_it_refuses_it_refuses_for_good_and_says_why(
    engine: Engine, artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    store, made = artifacts

    def changed(name: str, **config: Any) -> Path:
        folder = Path(shutil.copytree(store / made["cardiology-v1"].routed().artifact, tmp_path / name))
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))
        return folder

    async with gateway.pod(store, tmp_path / "cache", engine_url=engine.url, engine=EngineType.VLLM) as pod:
        asked = pod.run_time_engine
        with pytest.raises(EngineLacksError, match="No adapter found"):
            await asked.load("line-v1-00000001", tmp_path / "nowhere")
        with pytest.raises(EngineRejectedError, match=f"rank 128 is greater than max_lora_rank {vllm.MOST_RANK}"):
            await asked.load("line-v1-00000002", changed("wide", r=128))
        with pytest.raises(EngineRejectedError, match="DoRA"):
            await asked.load("line-v1-00000003", changed("dora", use_dora=True))
        assert await asked.loaded() == frozenset()


async def test_its_metrics_are_on_the_agents_page_and_no_text_or_key_with_them(
    engine: Engine, artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    async with ward(engine, artifacts, tmp_path / "cache") as (pod, router, made):
        await pod.proved(made["cardiology-v2"].name, within=HANG)
        assert (await post(router.server.url, "cardiology", KEYS["cardiology"]))[0] == 200
        page = (await pod.agent.metrics_page()).decode()
    names = [family.name for family in text_string_to_metric_families(page)]
    assert len(set(names)) == len(names)
    assert {"wardrobe_agent_engine_up", "vllm:num_requests_running", "vllm:generation_tokens"} <= set(names)
    assert "wardrobe_agent_engine_metrics_shown 1.0\n" in page
    assert not any(secret in page for secret in (*KEYS.values(), "atrial", "python_info", "http_"))


async def test_its_model_that_stands_still_is_found_while_its_server_is_as_healthy_as_ever(
    engine: Engine, artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    async with ward(engine, artifacts, cache, Patience(silent=10.0, hung=40.0)) as (pod, _, made):
        pod.control.mkdir()
        (pod.control / STATE_FILE).write_text(ProcessState(incarnation="the first").model_dump_json(by_alias=True))
        names = [artifact.name for artifact in made.values()]
        await pod.proved(*names, within=HANG)
        hung = pod.control / HUNG_FILE
        hung.unlink(missing_ok=True)
        asked = pod.run_time_engine
        steps = await asked.steps()
        assert steps
        assert (await post(pod.server.url, names[0]))[0] == 200
        assert await asked.steps() != steps
        core = engine.core()
        os.kill(core, signal.SIGSTOP)
        try:
            steps = await asked.steps()
            given_up = asyncio.create_task(post(pod.server.url, names[0]))
            await gateway.until(hung.exists, what=lambda: pod.agent.state().engine, within=HANG)
            await asked.check()  # as healthy as ever
            given_up.cancel()
            assert await asked.steps() == steps
            assert not pod.agent.state().engine.up
            said = Hung.model_validate_json(hung.read_bytes())
            assert "a token that it was asked for does not come" in said.message
        finally:
            os.kill(core, signal.SIGCONT)
        await pod.proved(*names, within=HANG)  # a person let it go on


async def test_one_that_was_killed_gets_everything_again(
    engine: Engine, artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    async with ward(engine, artifacts, tmp_path / "cache") as (pod, router, made):
        names = [artifact.name for artifact in made.values()]
        await pod.proved(*names, within=HANG)
        before = await post(router.server.url, "cardiology", KEYS["cardiology"])
        engine.kill()
        await gateway.until(lambda: not pod.reconciler.health.state.up, what="down", within=HANG)
        await asyncio.to_thread(engine.start)
        await pod.proved(*names, within=HANG)
        assert pod.reconciler.health.state.starts == 2
        after = await post(router.server.url, "cardiology", KEYS["cardiology"])
        assert said(after[2]) == said(before[2])
