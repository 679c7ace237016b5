"""Agent and router before the real engine, with probes as the trainer records them: three programs, two stacks."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import engine_servers, gateway, real_engines
from support.artifacts import Artifact
from support.forgery import halve_v_proj, republish
from support.gateway import Pod, RouterProcess, routes
from support.waiting import HANG

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import Precision
from wardrobe_contracts.state import ADAPTER_HEADER, ProofNumbers, Reason, Verdict

ENGINE = real_engines.python("engine")
CHAT = "/v1/chat/completions"

NF4 = pytest.mark.parametrize("served", [Variant.NF4], indirect=True)

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Artifact]]:
    """A store, and what is in it."""
    return real_engines.record(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="module", params=list(Variant))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Variant, str]]:
    """An engine for each variant of the base, with switchable faults."""
    folder = tmp_path_factory.mktemp("engine")
    with engine_servers.transformers(folder, request.param, "support.faulty_engine") as url:
        yield request.param, url


@asynccontextmanager
async def ward(
    served: tuple[Variant, str], artifacts: tuple[Path, dict[str, Artifact]], cache: Path
) -> AsyncIterator[tuple[Pod, RouterProcess, dict[str, Artifact]]]:
    """A pod with all three adapters in its set, and a router."""
    store, made = artifacts
    given = routes(
        [artifact.routed() for artifact in made.values()],
        {"cardiology": made["cardiology-v2"].name, "paediatrics": made["paediatrics-v1"].name},
    )
    async with gateway.pod(store, cache, engine_url=served[1], variant=served[0], precision=Precision.FLOAT32) as pod:
        async with gateway.router(
            pod, keys={"cardiology": "heart-of-cardiology", "paediatrics": "child-of-paediatrics"}
        ) as router:
            pod.apply(given)
            router.apply(given)
            yield pod, router, made
        for artifact in made.values():  # the next test begins with an empty engine
            await pod.run_time_engine.unload(artifact.name)


async def fault(url: str, kind: str, *adapters: str) -> None:
    body = {"fault": kind, "adapters": list(adapters)}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/test/fault", json=body) as answer:
        assert answer.status == 200, await answer.text()


async def ask(router: RouterProcess, model: str, key: str, **more: Any) -> tuple[int, str, str]:
    messages = [{"role": "user", "content": "What is atrial fibrillation?"}]
    body = {"model": model, "messages": messages, "max_tokens": 12, "temperature": 0, **more}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session,
        session.post(router.server.url + CHAT, json=body) as answer,
    ):
        return answer.status, answer.headers.get(ADAPTER_HEADER, ""), await answer.text()


@NF4
async def test_its_metrics_are_on_the_agents_page_and_no_text_or_key_with_them(
    served: tuple[Variant, str], artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    async with ward(served, artifacts, tmp_path / "cache") as (pod, router, made):
        name = made["cardiology-v2"].name
        await pod.proved(name, within=HANG)
        await router.sees(name, pod.server.address)
        steps = await pod.run_time_engine.steps()
        assert steps
        assert (await ask(router, "cardiology", "heart-of-cardiology"))[0] == 200
        assert await pod.run_time_engine.steps() != steps
        page = (await pod.agent.metrics_page()).decode()
    names = [family.name for family in text_string_to_metric_families(page)]
    assert len(set(names)) == len(names)
    assert {"wardrobe_agent_engine_up", "wardrobe_engine_generated_tokens"} <= set(names)
    assert "wardrobe_agent_engine_metrics_shown 1.0\n" in page
    assert not any(secret in page for secret in ("heart-of", "atrial", "python_info"))


async def test_recorded_by_the_trainer_proved_on_the_engine(
    served: tuple[Variant, str], artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    async with ward(served, artifacts, tmp_path / "cache") as (pod, router, made):
        for name in real_engines.NAMES:
            state = await pod.judged(made[name].name, Verdict.APPLIED)
            assert state.numbers is not None
            report(served[0], name, state.numbers, state.timings.prove or 0)
            assert state.numbers.own < state.numbers.allowed / 2  # what is left of the tolerance
            assert state.numbers.share == pytest.approx(1, abs=(state.numbers.share_allowed or 0) / 2)
            assert not state.numbers.alike
        v2, child = made["cardiology-v2"].name, made["paediatrics-v1"].name
        await router.sees(v2, pod.server.address)
        status, adapter, text = await ask(router, "cardiology", "heart-of-cardiology")
        assert (status, adapter) == (200, v2)
        other = await ask(router, "paediatrics", "child-of-paediatrics")
        assert other[:2] == (200, child)
        assert other[2] != text
        streamed = await ask(router, "cardiology", "heart-of-cardiology", stream=True)
        assert streamed[:2] == (200, v2)
        assert streamed[2].endswith("data: [DONE]\n\n")
        assert (await ask(router, "cardiology", "heart-of-cardiology", temperature=-1))[0] == 422


def report(variant: Variant, name: str, numbers: ProofNumbers, seconds: float) -> None:
    """What a proof saw, for who runs this with -s."""
    shown = numbers.model_dump(exclude_none=True)
    print(f"\n{variant} {name} in {seconds:.2f} s: {shown}")  # noqa: T201


@NF4
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("base", (Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE)),
        ("swap", (Verdict.WRONG_ADAPTER, Reason.ANSWERS_AS_OTHER)),
        ("decode-base", (Verdict.NOT_APPLIED, Reason.LOST_IN_DECODE)),
    ],
)
async def test_faults_of_the_real_engine_are_caught(
    served: tuple[Variant, str],
    artifacts: tuple[Path, dict[str, Artifact]],
    tmp_path: Path,
    kind: str,
    expected: tuple[Verdict, Reason],
) -> None:
    async with ward(served, artifacts, tmp_path / "cache") as (pod, router, made):
        v1, v2 = made["cardiology-v1"].name, made["cardiology-v2"].name
        await pod.proved(*(artifact.name for artifact in made.values()))
        await fault(served[1], kind, v1, v2)
        try:
            for adapter in (v1, v2):
                pod.reconciler.adapters.change(adapter, due=0.0)
            for adapter in (v1, v2):
                state = await pod.judged(adapter, expected[0])
                assert state.reason is expected[1]
            assert (await ask(router, "cardiology", "heart-of-cardiology"))[0] == 503
            assert (await ask(router, "paediatrics", "child-of-paediatrics"))[0] == 200
        finally:
            await fault(served[1], "none")
        await asyncio.gather(*(pod.engine_is_well(adapter) for adapter in (v1, v2)))


async def test_half_of_one_module_is_found(
    served: tuple[Variant, str], artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    """On every variant, by what is allowed of bfloat16, too."""
    store, made = artifacts
    version = 10 + list(Variant).index(served[0])
    half = republish(store, made["cardiology-v2"].path, halve_v_proj, adapter=f"cardiology-v{version}")
    for precision in Precision:
        cache = tmp_path / precision
        async with gateway.pod(store, cache, engine_url=served[1], variant=served[0], precision=precision) as pod:
            pod.apply(routes([half], {"cardiology": half.engine_name}))
            state = await pod.judged(half.engine_name, Verdict.DIVERGED)
            await pod.run_time_engine.unload(half.engine_name)
        assert state.reason is Reason.SCORES_UNKNOWN
        assert state.numbers is not None
        assert state.numbers.share is not None
        assert 0.6 < state.numbers.share < 0.9
        report(served[0], half.engine_name, state.numbers, state.timings.prove or 0)


@NF4
async def test_departments_clients_get_their_answers_through_the_router(
    served: tuple[Variant, str], artifacts: tuple[Path, dict[str, Artifact]], tmp_path: Path
) -> None:
    async with ward(served, artifacts, tmp_path / "cache") as (pod, router, made):
        await pod.proved(*(artifact.name for artifact in made.values()))
        await router.sees(made["cardiology-v2"].name, pod.server.address)
        arguments = ("-m", "support.ask_with_clients", router.server.url, "heart-of-cardiology", "cardiology")
        got = json.loads(await asyncio.to_thread(real_engines.run, ENGINE, *arguments))
    assert got["openai"]
    assert got["openai"] == got["openai stream"] == got["hub"] == got["hub stream"]
    assert got["openai models"] == ["cardiology", made["cardiology-v1"].name, made["cardiology-v2"].name]
    assert got["openai refused"] == {
        "AuthenticationError": "key_unknown",
        "PermissionDeniedError": "model_forbidden",
        "NotFoundError": "model_not_found",
    }
    assert got["hub text"]
    assert got["hub text"] == got["hub text stream"].removesuffix("<|end|>")  # the client shows the end token, too
    assert "cardiology" in got["hub refused"]
