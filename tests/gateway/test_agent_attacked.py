"""What one department, one adapter, the store or a busy engine does to the others: nothing."""

import asyncio
import io
import json
import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.artifacts import Artifact, publish
from support.forgery import fuzzed, republish
from support.gateway import Pod, routes, until
from support.waiting import HANG

from wardrobe_contracts.engine_process import STATE_FILE, Ended, ProcessState
from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, MANIFEST_FILE
from wardrobe_contracts.probes import PROBES_FILE
from wardrobe_contracts.routes import RoutedAdapter
from wardrobe_contracts.state import ADAPTER_HEADER, DEPARTMENT_HEADER, ENGINE_REACHED_HEADER, Reason, Verdict
from wardrobe_gateway.agent import copies, probing, server
from wardrobe_gateway.agent.fetch import Fetched, Pace, Store, fetch
from wardrobe_gateway.agent.patience import Patience
from wardrobe_gateway.agent.proof import Judgement
from wardrobe_gateway.engines import Generation

CHAT = "/v1/chat/completions"


def chat(adapter: str, **more: Any) -> dict[str, Any]:
    return {"model": adapter, "messages": [{"role": "user", "content": "how much? "}], **more}


async def ask(
    pod: Pod, body: dict[str, Any], path: str = CHAT, department: str = "cardiology"
) -> tuple[int, dict[str, Any], str | None]:
    """Status, answer, and whether the engine was reached."""
    headers = {DEPARTMENT_HEADER: department}
    async with aiohttp.ClientSession(headers=headers) as session, session.post(pod.server.url + path, json=body) as got:
        return got.status, await got.json(content_type=None), got.headers.get(ENGINE_REACHED_HEADER)


@pytest.fixture
def v1(store: Path) -> Artifact:
    return publish(store, "cardiology-v1")


@pytest.fixture
def child(store: Path) -> Artifact:
    return publish(store, "paediatrics-v1")


async def serve(pod: Pod, *artifacts: Artifact) -> None:
    """These, each for its department, proved."""
    pod.apply(both(*artifacts))
    await pod.proved(*(artifact.name for artifact in artifacts))


def both(*artifacts: Artifact, generation: int = 1) -> Any:
    live = {artifact.adapter.rpartition("-v")[0]: artifact.name for artifact in artifacts}
    return routes([artifact.routed() for artifact in artifacts], live, generation=generation)


# A full engine


async def test_200_clients_of_one_department_leave_another_its_answers_and_a_rollout_its_proofs(
    pod: Pod, store: Path, v1: Artifact, child: Artifact
) -> None:
    await serve(pod, v1, child)
    pod.engine.most = ENGINES[EngineType.TRANSFORMERS].batch

    async def work(_: int) -> None:
        await asyncio.sleep(0.02)  # the engine's own time

    pod.engine.work = work
    full, codes = asyncio.Event(), []

    async def client() -> None:
        while True:
            code, _, reached = await ask(pod, chat(v1.name))
            codes.append((code, reached))
            if code == 429:
                full.set()
                await asyncio.sleep(0.05)

    clients = [asyncio.create_task(client()) for _ in range(200)]
    try:
        await asyncio.wait_for(full.wait(), HANG)
        answers = [await ask(pod, chat(child.name), department="paediatrics") for _ in range(30)]
        assert {code for code, _, _ in answers} == {200}
        newer = publish(store, "paediatrics-v2")
        pod.apply(both(v1, child, newer, generation=2))
        await pod.proved(newer.name)
    finally:
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    assert set(codes) == {(200, None), (429, "no")}
    assert not pod.engine.overloaded
    await until(lambda: not pod.agent.engine_admission.queue.inside)


async def test_departments_that_nobody_knows_share_one_turn_and_the_metrics_name_none(pod: Pod, v1: Artifact) -> None:
    await serve(pod, v1)
    release = asyncio.Event()

    async def held(_: int) -> None:
        await release.wait()

    pod.engine.work = held
    asked = [asyncio.create_task(ask(pod, chat(v1.name), department=f"made-up-{n}")) for n in range(40)]
    asked += [asyncio.create_task(ask(pod, chat(v1.name)))]
    queue = pod.agent.engine_admission.queue
    await until(lambda: queue.inside["cardiology"] == 1 and len(queue.waiting) == 1)
    page = (await pod.agent.metrics_page()).decode()
    assert 'wardrobe_agent_department_waiting{department=""} 19.0' in page
    assert 'wardrobe_agent_department_in_engine{department="cardiology"} 1.0' in page
    assert "made-up" not in page
    release.set()
    assert {code for code, _, _ in await asyncio.gather(*asked)} == {200}


async def test_no_more_requests_are_let_in_than_the_engine_was_said_to_work_on_beside_proofs(
    pod: Pod, v1: Artifact
) -> None:
    await pod.stop_agent()
    await pod.start_agent(max_concurrent_requests=probing.AT_ONCE + 2)
    await serve(pod, v1)
    release = asyncio.Event()

    async def held(_: int) -> None:
        await release.wait()

    pod.engine.work = held
    asked = [asyncio.create_task(ask(pod, chat(v1.name))) for _ in range(5)]
    queue = pod.agent.engine_admission.queue
    await until(lambda: queue.inside["cardiology"] == 2 and len(queue.waiting["cardiology"]) == 3)
    release.set()
    assert {code for code, _, _ in await asyncio.gather(*asked)} == {200}


# Whether the engine was reached


@pytest.mark.parametrize(
    ("change", "body", "expected"),
    [
        pytest.param({}, {"model": "x-v1-00000000"}, (421, "no"), id="unknown"),
        pytest.param({}, {"parameters": [1], "model": 5}, (421, "no"), id="of another shape"),
        pytest.param({"refusing": (404, "who?")}, {}, (421, "no"), id="lost by the engine"),
        pytest.param({"refusing": (422, "no")}, {}, (422, "yes"), id="refused by the engine"),
        pytest.param({"refusing": (500, "oh")}, {}, (500, "yes"), id="failed by the engine"),
        pytest.param({}, {}, (200, None), id="answered"),
    ],
)
async def test_every_refusal_says_whether_the_engine_was_reached(
    pod: Pod, v1: Artifact, change: dict[str, Any], body: dict[str, Any], expected: tuple[int, str | None]
) -> None:
    await serve(pod, v1)
    for name, value in change.items():
        setattr(pod.engine, name, value)
    code, _, reached = await ask(pod, {**chat(v1.name), **body})
    assert (code, reached) == expected


async def test_an_engine_that_has_ended_is_noticed_at_once_and_was_not_reached(pod: Pod, v1: Artifact) -> None:
    await serve(pod, v1)
    await pod.engine_server.stop()
    code, _, reached = await ask(pod, chat(v1.name))
    assert code in {502, 503}
    assert reached == "no"
    await until(lambda: not pod.agent.state().engine.up)


async def test_an_engine_that_ends_under_a_request_may_have_been_reached(pod: Pod, v1: Artifact) -> None:
    await serve(pod, v1)
    pod.engine.faults.hangs = True
    asked = asyncio.create_task(ask(pod, chat(v1.name)))
    await until(lambda: pod.engine.under_way)
    await pod.engine_server.stop()
    assert (await asked)[::2] == (502, "yes")


async def test_what_asks_for_nothing_is_not_told_to_the_engine(pod: Pod, v1: Artifact) -> None:
    await serve(pod, v1)
    plain = chat(v1.name)
    assert (await ask(pod, plain | {"n": 1, "frequency_penalty": 0.0, "user": "a nurse", "tools": None}))[0] == 200
    assert pod.engine.log[-1] == ("/v1/chat/completions", plain)


async def test_a_fields_name_with_a_dot_does_not_reach_into_an_object(pod: Pod, v1: Artifact) -> None:
    """Where the request is written anew, it could else name another adapter than the one that was looked up."""
    await serve(pod, v1)
    body = {"inputs": "x", "parameters": {"adapter_id": v1.name}, "parameters.adapter_id": "renal-v1-00000000"}
    code, answer, _ = await ask(pod, body, "/generate")
    assert (code, answer["error"]["param"]) == (422, "adapter_id")


async def test_a_path_of_another_engine_is_answered_with_those_of_this_one(
    pod: Pod, v1: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(pod, v1)
    facts = ENGINES[EngineType.TRANSFORMERS]
    chats = {path: request for path, request in facts.requests.items() if path == "/v1/chat/completions"}
    monkeypatch.setattr(pod.reconciler.engine, "facts", replace(facts, requests=chats))
    code, answer, reached = await ask(pod, {"inputs": "x", "parameters": {"adapter_id": v1.name}}, "/generate")
    assert (code, reached) == (404, "no")
    assert "does not answer at /generate; ask at /v1/chat/completions" in answer["error"]["message"]


@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
async def test_scores_of_prompts_are_not_for_departments(pod: Pod, v1: Artifact, path: str) -> None:
    await serve(pod, v1)
    seen = len(pod.engine.log)
    body = {"inputs": "x", "parameters": {"adapter_id": v1.name, "decoder_input_details": True}}
    code, answer, reached = await ask(pod, body, path)
    assert (code, answer["error"]["param"], reached) == (422, "decoder_input_details", "no")
    assert len(pod.engine.log) == seen


async def test_what_an_engine_would_make_something_else_of_is_refused_with_the_reason(
    pod: Pod, v1: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serve(pod, v1)
    monkeypatch.setattr(pod.reconciler.engine, "facts", ENGINES[EngineType.TGI])
    code, answer, reached = await ask(pod, {**chat(v1.name), "stop": "END"}, CHAT)
    assert (code, answer["error"]["param"], reached) == (422, "stop", "no")
    assert answer["error"]["message"] == (
        "TGI leaves the text of stop in a chat's answer, where other engines cut it off; ask without it"
    )


async def test_bodies_are_bounded_one_by_one_and_together(pod: Pod, v1: Artifact) -> None:
    await serve(pod, v1)
    pod.agent = server.Agent(pod.reconciler, pod._connection, pod.engine_server.url, pod.drain, 3_000_000)
    pod.agent.in_force.restore()
    await pod.server.stop()
    await pod.server.start()

    async def pieces() -> Any:
        yield json.dumps(chat(v1.name)).encode()

    url = pod.server.url + CHAT
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=pieces()) as chunked:
            assert chunked.status == 200
        async with session.post(url, data=io.BytesIO(b" " * 2_000_001)) as large:
            assert large.status == 413
            assert large.headers[ENGINE_REACHED_HEADER] == "no"
    release = asyncio.Event()

    async def held(_: int) -> None:
        await release.wait()

    pod.engine.work = held
    long = asyncio.create_task(ask(pod, chat(v1.name, stop="x" * 1_000_000)))
    await until(lambda: pod.agent.engine_admission.queue.inside)
    code, answer, reached = await ask(pod, chat(v1.name, stop="x" * 1_000_000))
    assert (code, answer["error"]["code"], reached) == (429, "busy", "no")
    other = asyncio.create_task(ask(pod, chat(v1.name, stop="x" * 500_000), department=""))
    await until(lambda: pod.agent.engine_admission.queue.inside[""])
    release.set()
    assert [(await one)[0] for one in (long, other)] == [200, 200]


# An adapter that ends the engine


@pytest.fixture
def processes(pod: Pod) -> list[str]:
    """Those of the engine so far, as its wrapper says which of them runs."""
    pod.control.mkdir()
    known = list[str]()

    def another() -> None:
        ended = Ended(incarnation=known[-1], code=1, message="illegal memory access") if known else None
        known.append(f"process {len(known)}")
        state = ProcessState(incarnation=known[-1], ended=ended)
        (pod.control / STATE_FILE).write_text(state.model_dump_json(by_alias=True))

    another()
    pod.engine.died = another
    return known


@pytest.mark.parametrize("path", ["/v1/load_lora_adapter", "/generate"])
@pytest.mark.usefixtures("processes")
async def test_an_adapter_that_ends_the_engine_is_left_out_and_the_others_are_served(
    pod: Pod, v1: Artifact, child: Artifact, path: str
) -> None:
    await serve(pod, child)
    pod.engine.faults.deadly = (path, v1.name)
    pod.apply(both(v1, child, generation=2))
    state = await pod.judged(v1.name, Verdict.LOAD_FAILED)
    assert state.reason is Reason.REFUSED_BY_ENGINE
    said = "the engine has ended 2 times in a row at its load or first proof, tried again in 60 s: "
    assert state.message == f"{said}the engine ended by itself (exit code 1):\nillegal memory access"
    await pod.proved(child.name)
    assert pod.reconciler.adapters.by_name[v1.name].ends == 2


@pytest.mark.parametrize("patience", [Patience(apart=0.2)])
async def test_one_that_was_left_out_is_tried_again_after_a_while_and_longer_each_time(
    pod: Pod, v1: Artifact, child: Artifact, processes: list[str]
) -> None:
    pod.engine.faults.deadly = ("/generate", v1.name)
    pod.apply(both(v1, child))
    for ends, pause in ((2, 0.2), (3, 0.4), (4, 0.8)):
        await until(lambda: f"{ends} times in a row" in pod.agent.state().adapters[v1.name].message)  # noqa: B023
        assert f"tried again in {pause:g} s" in pod.agent.state().adapters[v1.name].message
    pod.engine.faults.deadly = None
    await pod.proved(v1.name, child.name)
    assert pod.reconciler.adapters.by_name[v1.name].ends == 0


async def test_an_engine_that_ends_once_at_an_adapter_says_nothing_of_it(
    pod: Pod, v1: Artifact, processes: list[str]
) -> None:
    def another() -> None:
        pod.engine.faults.deadly = None
        real()

    real, pod.engine.died = pod.engine.died, another
    pod.engine.faults.deadly = ("/generate", v1.name)
    await serve(pod, v1)
    assert len(processes) == 2


# Proofs


NAN = '{"details": {"prefill": [{"id": 1, "logprob": NaN}]}, "generated_text": ""}'


@pytest.mark.parametrize(
    "garbage",
    ["", "[]", "{}", "[" * 5000, '{"details": {"prefill": 5}}', '{"details": {"prefill": [{"id": "x"}]}}', NAN],
    ids=["empty", "list", "object", "deep", "number", "no-id", "nan"],
)
async def test_garbage_in_a_proof_is_that_adapters_verdict_only(
    pod: Pod, v1: Artifact, child: Artifact, garbage: str
) -> None:
    pod.engine.faults.garbage = {v1.name: garbage}
    pod.apply(both(v1, child))
    assert (await pod.judged(v1.name, Verdict.DIVERGED)).reason in {Reason.PROOF_FAILED, Reason.TOKENS_DIFFER}
    await pod.proved(child.name)


async def test_a_step_that_fails_as_nobody_foresaw_ends_no_others_work(
    pod: Pod, v1: Artifact, child: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pod.run_time_engine.load

    async def load(adapter: str, folder: Path) -> None:
        if adapter == v1.name:
            raise ZeroDivisionError("nobody thought of it")
        await real(adapter, folder)

    monkeypatch.setattr(pod.reconciler.engine, "load", load)
    pod.apply(both(v1, child))
    state = await pod.judged(v1.name, Verdict.LOAD_FAILED)
    assert state.message == "ZeroDivisionError: nobody thought of it"
    await pod.proved(child.name)


@pytest.mark.parametrize(("failures", "verdict"), [(1, Verdict.APPLIED), (2, Verdict.NOT_APPLIED)])
async def test_a_repetition_that_fails_is_repeated_before_it_counts(
    pod: Pod, v1: Artifact, monkeypatch: pytest.MonkeyPatch, failures: int, verdict: Verdict
) -> None:
    await serve(pod, v1)
    real, made = probing.prove, []

    async def prove(*arguments: Any) -> Judgement:
        made.append(pod.adapter(v1.name))
        if len(made) <= failures:
            return Judgement(Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE, "as the base")
        return await real(*arguments)

    monkeypatch.setattr(probing, "prove", prove)
    pod.reconciler.adapters.change(v1.name, due=0.0)
    pod.reconciler.changed()
    await until(lambda: len(made) == 2)
    assert all(state is not None and state.served for state in made)
    await pod.judged(v1.name, verdict)
    await until(lambda: not pod.reconciler.adapters.by_name[v1.name].failed)


def other_ids(folder: Path) -> None:
    """Of the first completion's first token."""
    probes = json.loads((folder / PROBES_FILE).read_text())
    probes["probes"][0]["completionIds"][0] += 1
    (folder / PROBES_FILE).write_text(json.dumps(probes))


async def test_a_proofs_answers_are_decoded_together(pod: Pod, v1: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under departments' traffic each token takes a whole step of the engine, however few rows are added to it."""
    real, both_ask = pod.reconciler.engine.generate, asyncio.Barrier(2)

    async def generate(adapter: str | None, prompt: str, tokens: int) -> Generation:
        await both_ask.wait()
        return await real(adapter, prompt, tokens)

    monkeypatch.setattr(pod.reconciler.engine, "generate", generate)
    await serve(pod, v1)


async def test_probes_of_other_tokens_prove_nothing(pod: Pod, v1: Artifact) -> None:
    forged = republish(pod.store, v1.path, other_ids)
    pod.apply(routes([forged], {"cardiology": forged.engine_name}))
    assert (await pod.judged(forged.engine_name, Verdict.DIVERGED)).reason is Reason.TOKENS_DIFFER


# The store


@pytest.mark.parametrize("patience", [Patience(stall=0.2, retry=0.05)])
async def test_a_store_that_hangs_stops_that_copy_only(
    pod: Pod, v1: Artifact, child: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def hanging(store: Store, adapter: RoutedAdapter, pace: Pace) -> Fetched:
        if adapter.engine_name == v1.name:
            release.wait(60)
        return fetch(store, adapter, pace)

    monkeypatch.setattr(copies, "fetch", hanging)
    try:
        pod.apply(both(v1, child))
        await pod.proved(child.name)
        state = await pod.judged(v1.name, Verdict.LOAD_FAILED)
        assert state.reason is Reason.STORE_FAILED
        await until(lambda: "earlier copy" in getattr(pod.adapter(v1.name), "message", ""))
    finally:
        release.set()
    await pod.proved(v1.name)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def huge(path: Path) -> None:
    os.truncate(path, 9 << 30)


@pytest.mark.parametrize("name", [MANIFEST_FILE, PROBES_FILE, ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE])
@pytest.mark.parametrize("put", [pipe, huge])
async def test_what_is_no_file_of_a_files_size_is_not_read(
    pod: Pod, v1: Artifact, child: Artifact, name: str, put: Callable[[Path], None]
) -> None:
    put(pod.store / v1.path / name)
    pod.apply(both(v1, child))
    state = await pod.judged(v1.name, Verdict.LOAD_FAILED)
    assert state.reason is Reason.STORE_FAILED
    assert name in state.message
    await pod.proved(child.name)


def new_and_huge(path: Path) -> None:
    path.touch()
    huge(path)


@pytest.mark.parametrize("put", [Path.touch, os.mkfifo, Path.mkdir, new_and_huge])
async def test_a_model_card_beside_the_files_is_not_looked_at(
    pod: Pod, v1: Artifact, put: Callable[[Path], None]
) -> None:
    """No digest covers it: it may be whatever somebody makes of it."""
    put(pod.store / v1.path / "README.md")
    await serve(pod, v1)
    (copy,) = [path for path in pod.cache.iterdir() if path.is_dir()]
    assert {path.name for path in copy.iterdir()} == {
        *(MANIFEST_FILE, PROBES_FILE, ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE)
    }


async def test_a_copy_of_an_adapter_that_left_meanwhile_is_deleted(
    pod: Pod, v1: Artifact, child: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release, made = threading.Event(), threading.Event(), threading.Event()

    def slow(store: Store, adapter: RoutedAdapter, pace: Pace) -> Fetched:
        if adapter.engine_name == child.name:
            return fetch(store, adapter, pace)
        begun.set()
        release.wait(60)
        fetched = fetch(store, adapter, pace)
        made.set()
        return fetched

    monkeypatch.setattr(copies, "fetch", slow)
    pod.apply(both(v1, child))
    try:
        await until(begun.is_set)
        pod.apply(both(child, generation=2))
        await until(lambda: pod.adapter(v1.name) is None)
    finally:
        release.set()
    await until(made.is_set)
    await pod.proved(child.name)
    await until(lambda: copied(pod) == {child.manifest_digest.removeprefix("sha256:")}, what=lambda: copied(pod))


async def test_what_an_earlier_process_left_is_deleted(pod: Pod, child: Artifact) -> None:
    (pod.cache / "of-an-adapter-that-left").mkdir()
    await serve(pod, child)
    await until(lambda: copied(pod) == {child.manifest_digest.removeprefix("sha256:")}, what=lambda: copied(pod))


def copied(pod: Pod) -> set[str]:
    """Folders in the agent's cache."""
    return {path.name for path in pod.cache.iterdir() if path.is_dir()}


# Unloading


@pytest.mark.parametrize("patience", [Patience(leave=0.0, retry=0.05)])
async def test_files_stay_until_the_engine_confirms_that_it_has_dropped_the_adapter(
    pod: Pod, v1: Artifact, child: Artifact
) -> None:
    await serve(pod, v1, child)
    copy = pod.cache / v1.manifest_digest.removeprefix("sha256:")
    pod.engine.faults.refuses_to_unload = v1.name
    pod.engine.voices["x-v1-00000000"] = "sorted behind, and not kept by it"
    pod.apply(both(child, generation=2))
    await until(lambda: [path for path, _ in pod.engine.log].count("/v1/unload_lora_adapter") > 2)
    assert copy.exists()
    await until(lambda: "x-v1-00000000" not in pod.engine.voices)
    pod.engine.faults.refuses_to_unload = ""
    await until(lambda: v1.name not in pod.engine.voices and not copy.exists())


@pytest.mark.parametrize("patience", [Patience(leave=0.0, retry=0.05, unload=0.05)])
async def test_files_stay_until_the_last_request_of_an_adapter_has_finished(
    pod: Pod, v1: Artifact, child: Artifact
) -> None:
    await serve(pod, v1, child)
    copy = pod.cache / v1.manifest_digest.removeprefix("sha256:")
    last = pod.engine.leaving[v1.name] = asyncio.Event()
    pod.apply(both(child, generation=2))
    await until(lambda: [path for path, _ in pod.engine.log].count("/v1/unload_lora_adapter") > 2)
    assert v1.name not in pod.engine.voices  # it is not listed any more
    assert copy.exists()
    last.set()
    await until(lambda: not copy.exists())


async def test_names_that_only_the_engine_knows_are_unloaded(pod: Pod, v1: Artifact) -> None:
    pod.engine.voices["forgotten-v1-00000000"] = "who?"
    await serve(pod, v1)
    await until(lambda: list(pod.engine.voices) == [v1.name])


# Strangers' files


@pytest.mark.parametrize("name", [MANIFEST_FILE, PROBES_FILE, ADAPTER_CONFIG_FILE])
async def test_fuzzed_files_get_a_verdict_and_the_others_stay_served(
    pod: Pod, v1: Artifact, child: Artifact, name: str
) -> None:
    await serve(pod, child)
    chance = random.Random(name)  # noqa: S311  the same files each time
    forged = []
    for number in range(60):

        def change(folder: Path) -> None:
            (folder / name).write_bytes(fuzzed((folder / name).read_bytes(), chance))

        forged.append(republish(pod.store, v1.path, change, adapter=f"cardiology-v{number + 2}"))
    one_each = {adapter.engine_name: adapter for adapter in forged}
    pod.apply(routes([*one_each.values(), child.routed()], {"paediatrics": child.name}, generation=2))

    def judged() -> bool:
        assert (state := pod.adapter(child.name)) is not None
        assert state.served
        states = [pod.adapter(adapter) for adapter in one_each]
        return all(state is not None and state.verdict is not Verdict.PENDING for state in states)

    await until(judged, within=HANG)
    async with aiohttp.ClientSession() as session, session.post(pod.server.url + CHAT, json=chat(child.name)) as got:
        assert (got.status, got.headers[ADAPTER_HEADER]) == (200, child.name)
