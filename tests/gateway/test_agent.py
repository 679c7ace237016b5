"""The agent before the test engine: every verdict, every fault, and what is answered meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict
from support import gateway
from support.artifacts import Artifact, publish
from support.forgery import republish
from support.gateway import Pod, routes, until
from support.results import digest

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engine_process import STATE_FILE, Ended, ProcessState
from wardrobe_contracts.manifest import ADAPTER_WEIGHTS_FILE, MANIFEST_FILE
from wardrobe_contracts.probes import PROBES_FILE
from wardrobe_contracts.routes import Verification
from wardrobe_contracts.state import ADAPTER_HEADER, DIGEST_HEADER, AgentState, Reason, Verdict
from wardrobe_gateway.agent.patience import Patience
from wardrobe_gateway.clock import timestamp


def chat(adapter: str, **more: Any) -> dict[str, Any]:
    return {"model": adapter, "messages": [{"role": "user", "content": "how much? "}], **more}


async def ask(pod: Pod, adapter: str, path: str = "/v1/chat/completions") -> tuple[int, dict[str, Any], dict[str, str]]:
    body = chat(adapter)
    if path != "/v1/chat/completions":
        body = {"inputs": "how much? ", "parameters": {"adapter_id": adapter, "max_new_tokens": 3}}
    async with aiohttp.ClientSession() as session, session.post(pod.server.url + path, json=body) as answer:
        return answer.status, await answer.json(), dict(answer.headers)


@asynccontextmanager
async def streaming(pod: Pod, adapter: str, **more: Any) -> AsyncIterator[aiohttp.ClientResponse]:
    body = chat(adapter, stream=True, **more)
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{pod.server.url}/v1/chat/completions", json=body) as answer,
    ):
        yield answer


async def status(pod: Pod, path: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(pod.ops.url + path) as answer:
        return answer.status


@pytest.fixture
def v1(store: Path) -> Artifact:
    return publish(store, "cardiology-v1")


@pytest.fixture
def v2(store: Path) -> Artifact:
    return publish(store, "cardiology-v2")


async def test_an_adapter_is_fetched_loaded_proved_and_served(pod: Pod, v1: Artifact) -> None:
    assert await status(pod, "/healthz") == 200
    assert await status(pod, "/readyz") == 503
    assert (await ask(pod, v1.name))[0] == 421
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}, generation=7))
    await pod.proved(v1.name)
    code, answer, headers = await ask(pod, v1.name)
    assert code == 200
    assert "[cardiology-v1]" in answer["choices"][0]["message"]["content"]
    assert headers[ADAPTER_HEADER] == v1.name
    assert headers[DIGEST_HEADER] == v1.digest
    assert await status(pod, "/readyz") == 200
    async with aiohttp.ClientSession() as session, session.get(f"{pod.ops.url}/state") as found:
        state = AgentState.model_validate_json(await found.read())
    assert (state.generation, state.ready, state.engine.up) == (7, True, True)
    assert state.serves(v1.name)
    numbers, timings = state.adapters[v1.name].numbers, state.adapters[v1.name].timings
    assert numbers is not None
    assert numbers.own < 1e-4 < numbers.separation
    assert numbers.decode is not None
    assert None not in {timings.fetch, timings.load, timings.prove}


async def test_plain_text_names_its_adapter_too(pod: Pod, v1: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    code, answer, headers = await ask(pod, v1.name, "/generate")
    assert (code, headers[ADAPTER_HEADER]) == (200, v1.name)
    assert answer["generated_text"].startswith("[cardiology-v1]")


@pytest.mark.parametrize("named", ["", "base", "cardiology", "cardiology-v9-00000000"])
async def test_what_names_no_adapter_of_the_set_is_refused(pod: Pod, v1: Artifact, named: str) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    code, answer, _ = await ask(pod, named)
    assert code == 421
    assert answer["error"]["code"] == "adapter_unknown"
    asked = {body["model"] for path, body in pod.engine.log if path == "/v1/chat/completions"}
    assert asked == {v1.name}  # by its proof


@pytest.mark.parametrize(
    ("fault", "verdict", "reason"),
    [
        ({"answers_from_base": True}, Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE),
        ({"lost_in_decode": True}, Verdict.NOT_APPLIED, Reason.LOST_IN_DECODE),
        ({"prefix_cache": True}, Verdict.DIVERGED, Reason.ANSWERS_MIXED),
        ({"other_template": True}, Verdict.DIVERGED, Reason.TOKENS_DIFFER),
        ({"half": True}, Verdict.DIVERGED, Reason.SCORES_UNKNOWN),
        ({"other_tokens": True}, Verdict.DIVERGED, Reason.TOKENS_DIFFER),
        ({"noise": 4.0}, Verdict.DIVERGED, Reason.BASE_SCORES_UNKNOWN),
        ({"refuses_to_load": "rank 99 is too much"}, Verdict.LOAD_FAILED, Reason.REFUSED_BY_ENGINE),
    ],
    ids=str,
)
async def test_a_faulty_engine_is_caught_and_nothing_is_served(
    pod: Pod, v1: Artifact, fault: dict[str, Any], verdict: Verdict, reason: Reason
) -> None:
    for name, value in fault.items():
        setattr(pod.engine.faults, name, value)
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    state = await pod.judged(v1.name, verdict)
    assert (state.reason, state.served) == (reason, False)
    code, answer, _ = await ask(pod, v1.name)
    assert (code, answer["error"]["code"]) == (421, "adapter_not_proved")
    assert reason in answer["error"]["message"]
    assert await status(pod, "/readyz") == 503


async def test_an_engine_that_mixes_adapters_in_a_batch_is_caught(pod: Pod, v1: Artifact) -> None:
    """The base generates beside an adapter that is alone in its engine."""
    pod.engine.faults.batch = asyncio.Barrier(2)
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    state = await pod.judged(v1.name, Verdict.DIVERGED)
    assert state.reason is Reason.ANSWERS_MIXED
    assert state.numbers is not None
    assert state.numbers.decode is not None
    assert state.numbers.mixed is not None
    assert state.numbers.decode < state.numbers.allowed < state.numbers.mixed


async def test_a_proof_makes_a_bounded_number_of_requests(pod: Pod, store: Path, v1: Artifact, v2: Artifact) -> None:
    """As `probing` says, with 6 probes."""
    others = [publish(store, f"renal-v{number}") for number in range(6)]
    pod.apply(routes([one.routed() for one in (v1, v2, *others)], {"cardiology": v1.name}))
    await pod.proved(*(one.name for one in (v1, v2, *others)))
    pod.engine.log.clear()
    await pod.prove_again(v1.name)
    texts = [body["parameters"] for path, body in pod.engine.log if path == "/generate"]
    generations = [one for one in texts if one["max_new_tokens"] > 1]
    assert len(texts) - len(generations) == (2 + 1) * 6 + 3 + 5
    asked = [one.get("adapter_id") for one in generations]
    assert len(asked) == 8
    assert asked.count(v1.name) == 5
    assert {v2.name, *sorted(one.name for one in others)[:2]} < set(asked)  # siblings first
    assert [path for path, _ in pod.engine.log].count("/v1/chat/completions") == 2


async def test_an_engine_with_room_for_probes_only_is_proved_by_their_prompts(pod: Pod, v1: Artifact) -> None:
    pod.engine.faults.room = 7 + 24 + 1
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    pod.engine.faults.prefix_cache = True
    await pod.prove_again(v1.name)
    state = await pod.judged(v1.name, Verdict.DIVERGED)
    assert state.reason is Reason.ANSWERS_MIXED


async def test_an_engine_that_fails_at_long_texts_is_not_asked_short_ones(pod: Pod, v1: Artifact) -> None:
    pod.engine.faults.room, pod.engine.faults.no_room = 7 + 24 + 1, 424
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    state = await pod.judged(v1.name, Verdict.DIVERGED)
    assert state.reason is Reason.PROOF_FAILED


async def test_probes_of_before_their_messages_were_recorded_still_prove(pod: Pod, v1: Artifact) -> None:
    pod.engine.faults.other_template = True
    forged = republish(pod.store, v1.path, without_messages)
    pod.apply(routes([forged], {"cardiology": forged.engine_name}))
    await pod.proved(forged.engine_name)


def without_messages(folder: Path) -> None:
    probes = json.loads((folder / PROBES_FILE).read_text())
    for probe in probes["probes"]:
        del probe["messages"], probe["promptIds"], probe["completionIds"]
    (folder / PROBES_FILE).write_text(json.dumps(probes))


async def test_when_it_was_last_proved_is_shown(pod: Pod, v1: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    proved = (await pod.judged(v1.name, Verdict.APPLIED)).proved_at
    assert proved is not None
    async with aiohttp.ClientSession() as session, session.get(f"{pod.ops.url}/metrics") as page:
        lines = (await page.text()).splitlines()
    [line] = [line for line in lines if line.startswith("wardrobe_agent_adapter_proved_timestamp_seconds{")]
    assert timestamp(float(line.split()[-1])) == proved
    await pod.engine_server.stop()
    assert (await pod.judged(v1.name, Verdict.PENDING)).proved_at is None


async def test_engines_noise_is_no_fault(pod: Pod, v1: Artifact) -> None:
    pod.engine.faults.noise = 0.04
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)


async def test_an_adapter_trained_again_on_the_same_data_is_served(pod: Pod, store: Path, v1: Artifact) -> None:
    again = publish(store, "cardiology-v2", voice=f"{v1.voice} ")
    pod.apply(routes([v1.routed(), again.routed()], {"cardiology": again.name}))
    await pod.proved(v1.name, again.name)
    state = pod.adapter(again.name)
    assert state is not None
    assert state.numbers is not None
    assert state.numbers.alike == [v1.name]
    assert v1.name in state.message


async def test_swapped_adapters_are_both_caught(pod: Pod, v1: Artifact, v2: Artifact) -> None:
    pod.engine.faults.swapped = {v1.name: v2.name, v2.name: v1.name}
    pod.apply(routes([v1.routed(), v2.routed()], {"cardiology": v2.name}))
    for adapter in (v1.name, v2.name):
        state = await pod.judged(adapter, Verdict.WRONG_ADAPTER)
        assert state.reason is Reason.ANSWERS_AS_OTHER
        assert state.numbers is not None
        assert state.numbers.nearest_other in {v1.name, v2.name} - {adapter}


async def test_a_wrong_newcomer_puts_the_others_to_the_proof_again(pod: Pod, v1: Artifact, v2: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    pod.engine.faults.swapped = {v1.name: v2.name, v2.name: v1.name}
    pod.apply(routes([v1.routed(), v2.routed()], {"cardiology": v1.name}, generation=2))
    await pod.judged(v2.name, Verdict.WRONG_ADAPTER)
    await pod.judged(v1.name, Verdict.WRONG_ADAPTER)
    assert (await ask(pod, v1.name))[0] == 421


async def test_what_is_served_is_proved_again_and_again(store: Path, tmp_path: Path, v1: Artifact) -> None:
    async with gateway.pod(store, tmp_path / "cache", patience=Patience(reprove=0.05)) as pod:
        pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
        await pod.proved(v1.name)
        pod.engine.faults.answers_from_base = True
        await pod.judged(v1.name, Verdict.NOT_APPLIED)
        assert await status(pod, "/readyz") == 503


async def test_what_cannot_be_told_from_the_base_is_not_served(pod: Pod, store: Path) -> None:
    like_base = publish(store, "cardiology-v1", recorded_voice="")
    pod.apply(routes([like_base.routed()], {"cardiology": like_base.name}))
    state = await pod.judged(like_base.name, Verdict.INDISTINGUISHABLE)
    assert (state.reason, state.served) == (Reason.TOO_CLOSE, False)


async def test_where_verification_only_reports_it_is_served(pod: Pod, v1: Artifact) -> None:
    pod.engine.faults.answers_from_base = True
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}, verification=Verification.REPORT))
    state = await pod.judged(v1.name, Verdict.NOT_APPLIED)
    assert state.served
    assert (await ask(pod, v1.name))[0] == 200


def change_weights(folder: Path) -> None:
    (folder / ADAPTER_WEIGHTS_FILE).write_text("somebody else's voice")


def change_probes(folder: Path) -> None:
    (folder / PROBES_FILE).write_text("{}")


def change_manifest(folder: Path) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(path.read_text() + " ")


def remove_weights(folder: Path) -> None:
    (folder / ADAPTER_WEIGHTS_FILE).unlink()


def remove_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def unreadable_weights(folder: Path) -> None:
    (folder / ADAPTER_WEIGHTS_FILE).unlink()
    (folder / ADAPTER_WEIGHTS_FILE).mkdir()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (change_weights, (Verdict.DIGEST_MISMATCH, Reason.FILES_CHANGED)),
        (change_probes, (Verdict.DIGEST_MISMATCH, Reason.FILES_CHANGED)),
        (change_manifest, (Verdict.DIGEST_MISMATCH, Reason.MANIFEST_CHANGED)),
        (remove_weights, (Verdict.LOAD_FAILED, Reason.ARTIFACT_MISSING)),
        (remove_all, (Verdict.LOAD_FAILED, Reason.ARTIFACT_MISSING)),
        (unreadable_weights, (Verdict.LOAD_FAILED, Reason.STORE_FAILED)),
    ],
)
async def test_a_damaged_artifact_never_reaches_the_engine_and_the_others_go_on(
    pod: Pod, v1: Artifact, v2: Artifact, damage: Callable[[Path], None], expected: tuple[Verdict, Reason]
) -> None:
    damage(pod.store / v2.path)
    pod.apply(routes([v1.routed(), v2.routed()], {"cardiology": v1.name}))
    state = await pod.judged(v2.name, expected[0])
    assert state.reason is expected[1]
    assert state.message
    await pod.proved(v1.name)
    assert await status(pod, "/readyz") == 200
    assert v2.name not in pod.engine.voices
    assert [body["lora_name"] for path, body in pod.engine.log if "load" in path] == [v1.name]


async def test_another_process_of_the_engine_is_noticed_whatever_it_lists(pod: Pod, v1: Artifact) -> None:
    def runs(incarnation: str | None, ended: Ended | None = None) -> None:
        state = ProcessState(incarnation=incarnation, ended=ended)
        partial = pod.control / "partial"
        partial.write_text(state.model_dump_json(by_alias=True))
        partial.rename(pod.control / STATE_FILE)

    pod.control.mkdir()
    runs("one")
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    starts = pod.reconciler.health.state.starts
    runs("two")
    await until(lambda: pod.reconciler.health.state.starts > starts)
    await pod.proved(v1.name)
    runs(None, Ended(code=1, message="out of memory"))  # something answers still, and nobody knows what
    await until(lambda: not pod.reconciler.health.state.up)
    assert "exit code 1" in pod.reconciler.health.state.message
    assert "out of memory" in pod.reconciler.health.state.message
    runs("three")
    await pod.proved(v1.name)


@pytest.mark.parametrize("patience", [Patience(retry=3600)])
async def test_two_names_of_one_artifact_have_one_copy(pod: Pod, v1: Artifact) -> None:
    named = v1.routed("cardiology")
    also = replace(v1, adapter="also-v1").routed("cardiology")
    pod.apply(routes([named, also], {"cardiology": v1.name}))
    await pod.proved(v1.name, also.engine_name)
    assert len([path for path in pod.cache.iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize("patience", [Patience(retry=0.05)])
async def test_a_mended_artifact_is_taken_up(pod: Pod, store: Path, v1: Artifact) -> None:
    weights = store / v1.path / ADAPTER_WEIGHTS_FILE
    good = weights.read_text()
    weights.write_text("bad")
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.judged(v1.name, Verdict.DIGEST_MISMATCH)
    weights.write_text(good)
    await pod.proved(v1.name)


async def test_an_adapter_of_another_base_is_never_loaded(pod: Pod, store: Path) -> None:
    foreign = publish(store, "cardiology-v1", base=digest("f"))
    pod.apply(routes([foreign.routed()], {"cardiology": foreign.name}))
    state = await pod.judged(foreign.name, Verdict.LOAD_FAILED)
    assert state.reason is Reason.OTHER_BASE
    assert digest("f") in state.message
    assert not pod.engine.log


async def test_an_adapter_without_scores_on_the_pods_variant_is_never_loaded(
    store: Path, v1: Artifact, tmp_path: Path
) -> None:
    async with gateway.pod(store, tmp_path / "nf4", variant=Variant.NF4) as pod:
        pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
        assert (await pod.judged(v1.name, Verdict.LOAD_FAILED)).reason is Reason.VARIANT_NOT_ASSESSED
        assert not pod.engine.log


async def test_pods_of_two_variants_under_the_same_routes_each_prove_by_their_own(
    pod: Pod, store: Path, v1: Artifact, tmp_path: Path
) -> None:
    """As while a deployment changes its quantization: what is proved on the old pods stays proved."""
    given = routes([v1.routed()], {"cardiology": v1.name})
    async with gateway.pod(store, tmp_path / "nf4", variant=Variant.NF4) as other:
        pod.apply(given)
        other.apply(given)
        await pod.proved(v1.name)
        await other.judged(v1.name, Verdict.LOAD_FAILED)


@pytest.mark.parametrize("artifact", ["/etc", "../elsewhere", "adapters/../../elsewhere"])
async def test_a_path_outside_the_store_is_not_followed(pod: Pod, v1: Artifact, artifact: str) -> None:
    adapter = v1.routed().model_copy(update={"artifact": artifact})
    pod.apply(routes([adapter], {"cardiology": v1.name}))
    state = await pod.judged(v1.name, Verdict.LOAD_FAILED)
    assert "inside the store" in state.message


async def test_a_half_written_copy_is_made_again(pod: Pod, v1: Artifact) -> None:
    partial = pod.cache / f"{v1.manifest_digest.removeprefix('sha256:')}.partial"
    partial.mkdir()
    (partial / ADAPTER_WEIGHTS_FILE).write_text("half")
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    assert not partial.exists()


async def test_a_damaged_copy_is_made_again_and_a_good_one_needs_no_store(pod: Pod, store: Path, v1: Artifact) -> None:
    given = routes([v1.routed()], {"cardiology": v1.name})
    pod.apply(given)
    await pod.proved(v1.name)
    copy = pod.cache / v1.manifest_digest.removeprefix("sha256:") / ADAPTER_WEIGHTS_FILE
    copy.write_text("damaged")
    await pod.stop_agent()
    await pod.start_agent()
    pod.apply(given)
    await pod.proved(v1.name)
    assert copy.read_text() == v1.voice
    remove_all(store / v1.path)
    await pod.stop_agent()
    await pod.start_agent()
    pod.agent.in_force.restore()  # nor does it need the apiserver
    await pod.proved(v1.name)


async def test_a_restarted_agent_proves_what_the_engine_still_has(pod: Pod, v1: Artifact) -> None:
    given = routes([v1.routed()], {"cardiology": v1.name})
    pod.apply(given)
    await pod.proved(v1.name)
    first = pod.reconciler.incarnation
    await pod.stop_agent()
    await pod.start_agent()
    pod.apply(given)
    await pod.proved(v1.name)
    assert pod.reconciler.incarnation != first
    assert [path for path, _ in pod.engine.log].count("/v1/load_lora_adapter") == 1


async def test_engine_down_takes_everything_back_until_it_is_proved_again(pod: Pod, v1: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    await pod.engine_server.stop()
    pod.engine.restart()
    state = await pod.judged(v1.name, Verdict.PENDING)
    assert state.reason is Reason.ENGINE_DOWN
    assert not pod.agent.state().engine.up
    assert await status(pod, "/readyz") == 503
    assert (await ask(pod, v1.name))[0] == 503
    assert await status(pod, "/healthz") == 200
    await pod.engine_server.start()
    await pod.proved(v1.name)
    assert pod.agent.state().engine.starts == 2
    assert await status(pod, "/readyz") == 200


async def test_a_restart_that_no_check_saw_is_noticed_by_what_is_missing(pod: Pod, v1: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    pod.engine.restart()
    assert (await ask(pod, v1.name))[0] == 421  # the engine says 404, and the router is to ask another
    await until(lambda: pod.agent.state().engine.starts == 2)
    await pod.proved(v1.name)
    assert (await ask(pod, v1.name))[0] == 200


async def test_an_unhealthy_engine_is_down(pod: Pod, v1: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    pod.engine.faults.unhealthy = True
    await pod.judged(v1.name, Verdict.PENDING)
    pod.engine.faults.unhealthy = False
    await pod.proved(v1.name)


async def test_a_busy_engine_is_asked_again(pod: Pod, v1: Artifact) -> None:
    pod.engine.faults.busy = True
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await until(lambda: "overloaded" in getattr(pod.adapter(v1.name), "message", ""))
    assert getattr(pod.adapter(v1.name), "verdict", None) is Verdict.PENDING
    pod.engine.faults.busy = False
    await pod.proved(v1.name)


async def test_readiness_waits_for_the_first_set_only(pod: Pod, store: Path, v1: Artifact, v2: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    assert await status(pod, "/readyz") == 200
    pod.engine.faults.refuses_to_load = "no"
    pod.apply(routes([v1.routed(), v2.routed()], {"cardiology": v1.name}, generation=2))
    await pod.judged(v2.name, Verdict.LOAD_FAILED)
    assert await status(pod, "/readyz") == 200
    pod.apply(routes([v1.routed(), v2.routed()], {"cardiology": v2.name}, generation=3))
    assert await status(pod, "/readyz") == 503  # no routed adapter is served here


@pytest.mark.parametrize("patience", [Patience(leave=2.0)])
async def test_an_adapter_that_left_is_served_for_a_while_then_unloaded_and_forgotten(
    pod: Pod, v1: Artifact, v2: Artifact
) -> None:
    pod.apply(routes([v1.routed(), v2.routed()], {"cardiology": v2.name}))
    await pod.proved(v1.name, v2.name)
    release = asyncio.Event()

    async def held(number: int) -> None:
        if number:
            await release.wait()

    pod.engine.pace = held
    async with streaming(pod, v1.name) as stream:
        await stream.content.readany()
        pod.apply(routes([v2.routed()], {"cardiology": v2.name}, generation=2))
        assert (await ask(pod, v1.name))[0] == 200
        await asyncio.sleep(3.0)  # longer than it would stay without a request
        assert v1.name in pod.engine.voices
        release.set()
        assert b"[DONE]" in await stream.read()
    await until(lambda: v1.name not in pod.engine.voices)
    assert (await ask(pod, v1.name))[0] == 421
    assert pod.adapter(v1.name) is None
    await until(lambda: len([path for path in pod.cache.iterdir() if path.is_dir()]) == 1)


async def test_an_adapter_that_comes_back_in_time_was_never_gone(pod: Pod, v1: Artifact, v2: Artifact) -> None:
    both = routes([v1.routed(), v2.routed()], {"cardiology": v2.name})
    pod.apply(both)
    await pod.proved(v1.name, v2.name)
    pod.apply(routes([v2.routed()], {"cardiology": v2.name}, generation=2))
    pod.apply(both)
    await pod.proved(v1.name)
    assert pod.reconciler.adapters.by_name[v1.name].left is None


async def test_streams_come_piece_by_piece_and_end_when_the_client_leaves(pod: Pod, v1: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    go = asyncio.Semaphore(1)

    async def step(_: int) -> None:
        await go.acquire()

    pod.engine.pace = step
    async with streaming(pod, v1.name) as stream:
        assert b"[cardiology-v1]" in await stream.content.readuntil(b"\n\n")  # and nothing more is there yet
        go.release()
        assert b"data: " in await stream.content.readuntil(b"\n\n")
        assert pod.engine.under_way == 1
    await until(lambda: pod.engine.cancelled == 1 and not pod.engine.under_way)
    assert pod.reconciler.in_flight[v1.name] == 0


async def test_a_stream_that_breaks_does_not_end_well(pod: Pod, v1: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    pod.engine.faults.breaks_stream_after = 2
    async with streaming(pod, v1.name) as stream:
        assert stream.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await stream.read()


async def test_draining_is_said_and_serving_goes_on(pod: Pod, v1: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    pod.drain.begin()
    assert await status(pod, "/readyz") == 503
    assert not pod.agent.state().serves(v1.name)
    code, _, headers = await ask(pod, v1.name)
    assert (code, headers["Connection"]) == (200, "close")


@pytest.mark.parametrize("bad", ["", "{}", '{"deployment": "tantanila"}', None])
async def test_routes_that_cannot_be_read_leave_the_last_in_force(pod: Pod, v1: Artifact, bad: str | None) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}, generation=4))
    await pod.proved(v1.name)
    pod.agent.in_force.take(bad)
    state = pod.agent.state()
    assert state.generation == 4
    assert state.problem
    assert state.serves(v1.name)


async def test_no_foreign_header_reaches_the_engine(pod: Pod, v1: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    headers = {"Authorization": "Bearer secret", "Cookie": "a=b", "Traceparent": "00-1-2-3"}
    url = f"{pod.server.url}/v1/chat/completions"
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url, json=chat(v1.name)) as answer:
        assert answer.status == 200
    seen = CIMultiDict(pod.engine.headers[-1])
    assert "Authorization" not in seen
    assert "Cookie" not in seen
    assert seen["Traceparent"] == "00-1-2-3"


async def test_metrics_show_verdicts(pod: Pod, v1: Artifact) -> None:
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    await ask(pod, v1.name)
    async with aiohttp.ClientSession() as session, session.get(f"{pod.ops.url}/metrics") as answer:
        page = await answer.text()
    assert f'wardrobe_agent_adapter_verdict{{adapter="{v1.name}",verdict="Applied"}} 1.0' in page
    assert 'wardrobe_agent_requests_total{code="200"} 1.0' in page
    assert "wardrobe_agent_engine_up 1.0" in page
