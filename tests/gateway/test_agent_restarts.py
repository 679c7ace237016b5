"""An engine that takes adapters only when it starts: a real agent and a real wrapper, and a small launcher between."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support import gateway
from support.artifacts import Artifact
from support.gateway import until
from support.results import digest
from support.tgi_pods import TgiPod, publish, tgi_pod

from wardrobe_contracts.base import Digest
from wardrobe_contracts.engine_process import ProcessOrder, Start
from wardrobe_contracts.routes import Authentication, RoutedAdapter
from wardrobe_contracts.state import Reason, Verdict
from wardrobe_gateway.agent.copies import Copies
from wardrobe_gateway.agent.engine_process import EngineProcess
from wardrobe_gateway.agent.engine_restarts import Restarts
from wardrobe_gateway.agent.fetch import Fetched
from wardrobe_gateway.agent.outcomes import Failed
from wardrobe_gateway.agent.patience import Patience
from wardrobe_gateway.agent.set_folders import SetFolders
from wardrobe_gateway.forwarding import session
from wardrobe_gateway.process.drain import Drain

from .test_agent import ask, chat, status, streaming

QUICK = Patience(gather=0.2, steady=0.5)


@pytest.fixture
def patience() -> Patience:
    return QUICK


@pytest.fixture
async def pod(store: Path, tmp_path: Path, patience: Patience) -> AsyncIterator[TgiPod]:
    async with tgi_pod(store, tmp_path / "cache", patience=patience) as running:
        yield running


@pytest.fixture
def v1(store: Path) -> Artifact:
    return publish(store, "cardiology-v1")


@pytest.fixture
def v2(store: Path) -> Artifact:
    return publish(store, "cardiology-v2", rank=24)


@pytest.fixture
def v3(store: Path) -> Artifact:
    return publish(store, "cardiology-v3")


def log(pod: TgiPod) -> str:
    return (pod.control / "log").read_text()


@contextlib.asynccontextmanager
async def draining(pod: TgiPod, asked: Artifact, wanted: Digest) -> AsyncIterator[None]:
    """A restart that is permitted, and waits for a request which ends with the block."""
    with pod.reconciler.request(asked.name):
        pod.permit(wanted)
        await until(lambda: pod.sets.restarting)
        yield


async def first(pod: TgiPod, *members: Artifact) -> str:
    """A pod that serves its first set; returns the engine's process."""
    pod.give(*members, live=members[0])
    await pod.proved(*(one.name for one in members))
    assert pod.process is not None
    return pod.process


async def waits(pod: TgiPod, one: Artifact) -> None:
    await until(
        lambda: (state := pod.adapter(one.name)) and state.reason is Reason.AWAITING_RESTART,
        what=lambda: pod.adapter(one.name),
    )


# Sets


async def test_a_pod_starts_its_engine_with_all_of_its_first_set_and_needs_no_permit(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    await first(pod, v1, v2)
    assert log(pod).count("loading") == 1
    assert pod.sets.running == pod.sets.wanted is not None
    assert (pod.sets.restarting, pod.sets.failed) == (False, None)
    assert pod.sets.start_seconds is not None
    assert await status(pod, "/readyz") == 200
    code, answer, _ = await ask(pod, v2.name)
    assert (code, answer["choices"][0]["message"]["content"].split()[0]) == (200, "[cardiology-v2]")
    order = EngineProcess(pod.control).order()
    assert order is not None
    assert (order.accepted, order.fallback) == (True, None)


async def test_an_engine_on_two_gpus_gets_copies_of_a_rank_that_both_share(pod: TgiPod, v1: Artifact) -> None:
    await pod.stop_agent()
    await pod.start_agent(shards=2)
    await first(pod, v1)
    configs = [json.loads(path.read_text()) for path in pod.cache.glob("sets/**/adapter_config.json")]
    assert {config["r"] for config in configs} == {32}


async def test_changes_that_follow_each_other_closely_cost_one_restart(
    pod: TgiPod, v1: Artifact, v2: Artifact, v3: Artifact
) -> None:
    await first(pod, v1)
    await pod.stop_agent()
    await pod.start_agent(patience=replace(QUICK, gather=3600.0))
    pod.give(v1, v2, live=v1)
    await waits(pod, v2)
    pod.give(v1, v2, v3, live=v1)
    await waits(pod, v3)
    assert pod.sets.wanted == pod.sets.running, "a permit is not asked for while another may follow"
    assert len(list((pod.cache / "sets").iterdir())) == 1, "nor is anything written"
    await pod.stop_agent()
    await pod.start_agent(patience=QUICK)
    pod.give(v1, v2, v3, live=v1)
    await pod.restarted()
    await pod.proved(v2.name, v3.name)
    assert log(pod).count("loading") == 2


async def test_another_version_waits_for_a_permit_and_comes_with_a_restart(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    process = await first(pod, v1)
    running = pod.sets.running
    pod.give(v1, v2, live=v1)
    wanted = await pod.asks()
    assert (pod.sets.running, pod.process) == (running, process)
    await waits(pod, v2)
    assert await status(pod, "/readyz") == 200
    pod.permit(wanted, incarnation="an agent that was here before")
    pod.permit(running or "")
    await asyncio.sleep(1.0)  # nothing is to happen
    assert (await ask(pod, v1.name))[0] == 200
    pod.permit(wanted)
    await pod.proved(v1.name, v2.name)
    assert pod.process != process
    assert (pod.sets.running, pod.sets.wanted, pod.sets.restarting) == (wanted, wanted, False)
    async with aiohttp.ClientSession() as session, session.get(f"{pod.ops.url}/metrics") as page:
        text = await page.text()
    assert 'wardrobe_agent_engine_restarts_total{outcome="started"} 2.0' in text
    assert "wardrobe_agent_engine_restarting 0.0" in text


@pytest.mark.parametrize("patience", [replace(QUICK, leave=0.1)])
async def test_versions_that_leave_and_come_back_restart_nothing(pod: TgiPod, v1: Artifact, v2: Artifact) -> None:
    process = await first(pod, v1, v2)
    pod.give(v1, live=v1)
    await until(lambda: pod.adapter(v2.name) is None)
    assert (await ask(pod, v2.name))[0] == 421
    pod.give(v1, v2, live=v1)
    await pod.proved(v2.name)
    assert pod.process == process
    assert log(pod).count("loading") == 1


async def test_requests_under_way_are_finished_before_the_engine_ends(
    store: Path, tmp_path: Path, v1: Artifact, v2: Artifact
) -> None:
    async with session(10) as connection:
        pod = TgiPod(store, tmp_path / "cache", connection, patience=QUICK)
        pod.stream_seconds = 2.0
        await pod.start()
        try:
            await first(pod, v1)
            pod.give(v1, v2, live=v1)
            wanted = await pod.asks()
            answer = asyncio.create_task(_stream(pod, v1))
            await until(lambda: pod.reconciler.in_flight[v1.name])
            pod.permit(wanted)
            await until(lambda: pod.sets.restarting)
            code, refused, _ = await ask(pod, v1.name)
            assert (code, refused["error"]["code"]) == (421, "engine_restarting")
            assert (pod.sets.running, pod.sets.wanted) == (None, wanted)
            assert await status(pod, "/readyz") == 503
            assert (await answer).endswith(b"data: [DONE]\n\n")
            await pod.proved(v1.name, v2.name)
        finally:
            await pod.stop()


async def _stream(pod: TgiPod, one: Artifact) -> bytes:
    async with streaming(pod, one.name) as answer:
        assert answer.status == 200
        return await answer.read()


async def test_what_does_not_fit_is_said_and_keeps_nothing_else_from_starting(
    pod: TgiPod, store: Path, v1: Artifact
) -> None:
    bad = publish(store, "cardiology-v9", finite=False)
    wide = publish(store, "cardiology-v8", rank=130)
    pod.give(v1, bad, wide, live=v1)
    await pod.proved(v1.name)
    for one, said in (bad, "no numbers"), (wide, "r is 130"):
        state = await pod.judged(one.name, Verdict.LOAD_FAILED)
        assert (state.reason, said in state.message) == (Reason.UNFIT, True), state.message
    assert await status(pod, "/readyz") == 200
    assert bad.name not in log(pod)


async def test_files_that_nobody_foresaw_are_unfit_and_end_nothing(pod: TgiPod, store: Path, v1: Artifact) -> None:
    half = publish(store, "cardiology-v7", extra="base_model.model.\ud800.lora_A.weight")
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    number = publish(store, "cardiology-v8", target_modules=["q_proj", deep])
    nested = publish(store, "cardiology-v9", layers_to_transform=deep)
    pod.give(v1, half, number, nested, live=v1)
    await pod.proved(v1.name)
    for one, said in (half, "ud800"), (number, "target_modules holds a list"), (nested, ""):
        state = await pod.judged(one.name, Verdict.LOAD_FAILED)
        assert (state.reason, said in state.message) == (Reason.UNFIT, True), state.message
    assert (await status(pod, "/readyz"), await ops_status(pod, "/state")) == (200, 200)


async def ops_status(pod: TgiPod, path: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(pod.ops.url + path) as answer:
        return answer.status


async def test_a_set_is_planned_only_when_what_runs_is_read_again(
    pod: TgiPod, v1: Artifact, v2: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await first(pod, v1)
    await pod.stop_agent()
    slow, fetch = asyncio.Event(), Copies.fetch

    async def held(copies: Copies, adapter: RoutedAdapter, base: Digest) -> Fetched | Failed:
        if adapter.engine_name == v1.name:
            await slow.wait()
        return await fetch(copies, adapter, base)

    monkeypatch.setattr(Copies, "fetch", held)
    await pod.start_agent()
    pod.give(v1, v2, live=v1)
    await waits(pod, v2)
    await asyncio.sleep(1.0)  # nothing is to happen
    assert pod.sets.wanted == pod.sets.running is not None
    slow.set()
    await pod.proved(v1.name)
    assert pod.process == process
    await pod.restarted()
    await pod.proved(v1.name, v2.name)


@pytest.mark.parametrize("patience", [replace(QUICK, own_retry=0.1)])
async def test_an_order_that_cannot_be_written_is_tried_again(pod: TgiPod, v1: Artifact, v2: Artifact) -> None:
    await first(pod, v1)
    await until(lambda: not pod.sets.on_trial)
    hindrance = pod.control / "order.json.partial"
    hindrance.mkdir()
    pod.give(v1, v2, live=v1)
    pod.permit(await pod.asks())
    await until(lambda: pod.sets.restarting)
    await asyncio.sleep(0.5)  # nothing is to happen
    hindrance.rmdir()
    await pod.proved(v1.name, v2.name)


@pytest.mark.parametrize("patience", [replace(QUICK, retry=0.1)])
async def test_what_keeps_a_set_from_being_written_is_said(
    pod: TgiPod, v1: Artifact, v2: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    await first(pod, v1)
    with monkeypatch.context() as full:

        def fails(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(SetFolders, "write", fails)
        pod.give(v1, v2, live=v1)
        await until(lambda: (state := pod.adapter(v2.name)) and "No space left" in state.message)
    await pod.restarted()
    await pod.proved(v2.name)


async def test_without_the_bases_shape_nothing_is_started(pod: TgiPod, v1: Artifact) -> None:
    pod.apply(gateway.routes([v1.routed()], {"cardiology": v1.name}))
    await waits(pod, v1)
    state = pod.adapter(v1.name)
    assert state is not None
    assert "the base's shape" in state.message
    assert EngineProcess(pod.control).order() is None


# A pod that is on its way out


async def test_a_pod_on_its_way_out_asks_for_no_permit_and_acts_upon_none(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    process = await first(pod, v1)
    pod.give(v1, v2, live=v1)
    wanted = await pod.asks()
    pod.drain.begin()
    assert pod.sets.wanted == pod.sets.running != wanted
    pod.permit(wanted)
    await asyncio.sleep(1.0)  # nothing is to happen
    assert (pod.process, pod.sets.restarting) == (process, False)
    assert (await ask(pod, v1.name))[0] == 200


async def test_a_restart_that_has_not_begun_is_called_off_by_the_pods_end(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    process = await first(pod, v1)
    pod.give(v1, v2, live=v1)
    wanted = await pod.asks()
    async with draining(pod, v1, wanted):
        pod.drain.begin()
        await until(lambda: not pod.sets.restarting)
    await pod.proved(v1.name)
    assert (await ask(pod, v1.name))[0] == 200
    assert (pod.process, pod.sets.running) == (process, pod.sets.wanted)


async def test_a_restart_that_has_begun_is_seen_through_to_the_pods_end(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    await first(pod, v1)
    pod.give(v1, v2, live=v1)
    pod.permit(await pod.asks())
    await until(lambda: (order := EngineProcess(pod.control).order()) and not order.accepted)
    pod.drain.begin()
    await pod.proved(v1.name, v2.name)


async def test_a_pod_on_its_way_out_starts_no_first_engine(pod: TgiPod, v1: Artifact) -> None:
    pod.drain.begin()
    pod.give(v1, live=v1)
    await waits(pod, v1)
    await asyncio.sleep(1.0)  # nothing is to happen
    assert EngineProcess(pod.control).order() is None


# Sets that do not come up


async def test_a_set_that_crashes_the_engine_is_undone_and_not_tried_again(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    await first(pod, v1)
    running = pod.sets.running
    (pod.faults / "crash").write_text("cardiology-v2")
    pod.give(v1, v2, live=v1)
    failed = await pod.restarted()
    state = await pod.judged(v2.name, Verdict.LOAD_FAILED)
    assert state.reason is Reason.REFUSED_BY_ENGINE
    assert "exit code 1" in state.message
    assert "ShardCannotStart" in state.message
    await pod.proved(v1.name)
    assert (pod.sets.running, pod.sets.wanted, pod.sets.failed) == (running, running, failed)
    await asyncio.sleep(1.0)  # nothing is to happen
    assert log(pod).count("loading") == 3
    assert pod.containers == 1


async def test_a_bad_one_among_several_keeps_no_other_out(
    pod: TgiPod, v1: Artifact, v2: Artifact, v3: Artifact
) -> None:
    await first(pod, v1)
    (pod.faults / "crash").write_text("cardiology-v2")
    pod.give(v1, v2, v3, live=v1)
    await pod.restarted()
    await pod.judged(v3.name, Verdict.LOAD_FAILED)  # each of them may be to blame
    await pod.restarted()  # v2 alone
    await pod.restarted()  # v3 alone
    await pod.proved(v1.name, v3.name)
    assert (await pod.judged(v2.name, Verdict.LOAD_FAILED)).reason is Reason.REFUSED_BY_ENGINE
    assert pod.sets.running == pod.sets.wanted


async def test_a_bad_one_in_the_first_set_keeps_no_other_out(pod: TgiPod, v1: Artifact, v2: Artifact) -> None:
    (pod.faults / "crash").write_text("cardiology-v1")
    pod.give(v1, v2, live=v1)
    await pod.proved(v2.name)
    await pod.judged(v1.name, Verdict.LOAD_FAILED)
    assert pod.containers == 1


@pytest.mark.parametrize("patience", [replace(QUICK, forget=0.0)])
async def test_where_no_set_ever_came_up_all_are_tried_again_after_a_while(pod: TgiPod, v1: Artifact) -> None:
    (pod.faults / "crash").write_text("cardiology-v1")
    pod.give(v1, live=v1)
    await until(lambda: pod.reconciler.restarts.outcomes["failed"])
    (pod.faults / "crash").unlink()  # it was the node
    await pod.proved(v1.name)
    assert pod.sets.failed is None


async def test_a_set_that_hangs_is_undone(pod: TgiPod, v1: Artifact, v2: Artifact) -> None:
    await first(pod, v1)
    await pod.stop_agent()
    await pod.start_agent(patience=replace(QUICK, start=1.0))  # the first engine takes what it takes to start
    (pod.faults / "hang").write_text("cardiology-v2")
    pod.give(v1, v2, live=v1)
    await pod.restarted()
    state = await pod.judged(v2.name, Verdict.LOAD_FAILED)
    assert "did not answer within 1 s" in state.message
    await pod.proved(v1.name)


async def test_a_set_that_dies_while_it_is_proved_is_undone(pod: TgiPod, v1: Artifact, v2: Artifact) -> None:
    await first(pod, v1)
    running = pod.sets.running
    (pod.faults / "die").write_text("cardiology-v2")
    pod.give(v1, v2, live=v1)
    failed = await pod.restarted()
    assert pod.sets.on_trial
    state = await pod.judged(v2.name, Verdict.LOAD_FAILED)
    assert state.reason is Reason.REFUSED_BY_ENGINE
    assert "ended 2 times before all of its adapters were proved" in state.message
    assert f"illegal memory access at {v2.name}" in state.message
    await pod.proved(v1.name)
    assert (pod.sets.running, pod.sets.wanted, pod.sets.failed) == (running, running, failed)
    assert not pod.sets.on_trial
    loaded = log(pod).count("loading")
    await asyncio.sleep(1.0)  # nothing is to happen
    assert log(pod).count("loading") == loaded


async def test_a_set_whose_engine_ends_once_while_it_is_proved_is_given_another_try(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    await first(pod, v1)
    (pod.faults / "die-once").write_text("cardiology-v2")
    pod.give(v1, v2, live=v1)
    wanted = await pod.restarted()
    await until(lambda: pod.containers == 2)
    await pod.proved(v1.name, v2.name)
    await until(lambda: not pod.sets.on_trial)
    assert (pod.sets.running, pod.sets.failed) == (wanted, None)


async def test_no_other_set_is_asked_for_while_one_is_proved(
    pod: TgiPod, v1: Artifact, v2: Artifact, v3: Artifact
) -> None:
    await first(pod, v1)
    (pod.faults / "die").write_text("cardiology-v2")
    pod.give(v1, v2, live=v1)
    await pod.restarted()
    pod.give(v1, v2, v3, live=v1)
    while pod.sets.on_trial:
        assert pod.sets.wanted == pod.sets.running
        await asyncio.sleep(0.05)
    await pod.restarted()  # v3 without v2
    await pod.proved(v1.name, v3.name)


async def test_an_agent_that_starts_anew_while_a_set_is_proved_undoes_it_all_the_same(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    await first(pod, v1)
    running = pod.sets.running
    (pod.faults / "die").write_text("cardiology-v2")
    pod.give(v1, v2, live=v1)
    await pod.restarted()
    await until(lambda: pod.containers == 2)
    await pod.stop_agent()
    await pod.start_agent()
    assert pod.sets.on_trial
    assert pod.given is not None
    pod.apply(pod.given)
    await pod.judged(v2.name, Verdict.LOAD_FAILED)
    await pod.proved(v1.name)
    assert pod.sets.running == running


async def withdrawn(pod: TgiPod, newcomer: Artifact, *others: Artifact) -> str:
    """Withdraw one while the engine starts with it, and wait until all others of its set are proved; the set."""
    pod.give(*others, newcomer, live=others[0])
    wanted = await pod.asks()
    pod.permit(wanted)
    await until(lambda: pod.sets.restarting)
    pod.give(*others, live=others[0])
    await until(lambda: pod.sets.on_trial)
    await until(lambda: not pod.sets.on_trial)
    await pod.proved(*(one.name for one in others))
    return wanted


async def test_one_that_was_withdrawn_unproved_is_on_trial_when_it_comes_back(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    await first(pod, v1)
    before = pod.sets.running
    (pod.faults / "die").write_text("cardiology-v2")
    wanted = await withdrawn(pod, v2, v1)
    await pod.stop_agent()  # which the next one reads
    await pod.start_agent()
    pod.give(v1, v2, live=v1)
    state = await pod.judged(v2.name, Verdict.LOAD_FAILED)
    assert "ended 2 times before all of its adapters were proved" in state.message
    await pod.proved(v1.name)
    assert (pod.sets.running, pod.sets.failed, pod.sets.on_trial) == (before, wanted, False)


async def test_one_that_comes_back_and_is_well_needs_no_restart(pod: TgiPod, v1: Artifact, v2: Artifact) -> None:
    await first(pod, v1)
    wanted = await withdrawn(pod, v2, v1)
    loaded = log(pod).count("loading")
    pod.give(v1, v2, live=v1)
    await until(lambda: pod.sets.on_trial)
    await until(lambda: not pod.sets.on_trial)
    await pod.proved(v1.name, v2.name)
    pod.give(v1, live=v1)
    await until(lambda: v2.name not in pod.reconciler.adapters.by_name)
    pod.give(v1, v2, live=v1)  # of a member that was proved once nothing is doubted
    await pod.proved(v2.name)
    assert not pod.sets.on_trial
    assert (pod.sets.running, log(pod).count("loading")) == (wanted, loaded)


async def test_one_in_the_first_set_that_dies_when_it_is_asked_keeps_no_other_out(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    (pod.faults / "die").write_text("cardiology-v1")
    pod.give(v1, v2, live=v1)
    await pod.proved(v2.name)
    assert (await pod.judged(v1.name, Verdict.LOAD_FAILED)).reason is Reason.REFUSED_BY_ENGINE
    assert await status(pod, "/readyz") == 503  # it is what is routed


async def test_an_engine_whose_only_adapter_kills_it_is_left_alone(pod: TgiPod, v1: Artifact) -> None:
    (pod.faults / "die").write_text("cardiology-v1")
    pod.give(v1, live=v1)
    await pod.judged(v1.name, Verdict.LOAD_FAILED)
    await until(lambda: pod.reconciler.health.state.up)
    loaded = log(pod).count("loading")
    await asyncio.sleep(1.0)  # nothing is to happen
    assert log(pod).count("loading") == loaded
    assert (await pod.judged(v1.name, Verdict.LOAD_FAILED)).reason is Reason.REFUSED_BY_ENGINE


async def test_what_another_replica_did_not_start_with_is_left_out(
    pod: TgiPod, v1: Artifact, v2: Artifact, v3: Artifact
) -> None:
    pod.give(v1, v2, v3, live=v1, refused=[v2.name])
    await pod.proved(v1.name, v3.name)
    await waits(pod, v2)
    state = pod.adapter(v2.name)
    assert state is not None
    assert "another replica" in state.message
    assert v2.name not in log(pod)
    pod.give(v1, v2, v3, live=v1)
    await pod.restarted()
    await pod.proved(v2.name)


# Processes that end


async def test_an_agent_that_starts_anew_takes_up_the_set_that_runs(pod: TgiPod, v1: Artifact, v2: Artifact) -> None:
    process, running = await first(pod, v1), pod.sets.running
    await pod.stop_agent()
    await pod.start_agent()
    pod.give(v1, v2, live=v1)  # its routes changed meanwhile
    await pod.proved(v1.name)
    assert (pod.process, pod.sets.running) == (process, running)
    assert await until(pod.agent.ready)
    assert await pod.asks()
    await waits(pod, v2)
    assert log(pod).count("loading") == 1


async def test_an_agent_that_ends_between_permit_and_restart_leaves_the_engine_as_it_is(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    process = await first(pod, v1)
    pod.give(v1, v2, live=v1)
    wanted = await pod.asks()
    async with draining(pod, v1, wanted):
        await pod.stop_agent()
    await pod.start_agent()
    assert pod.given is not None
    pod.apply(pod.given)  # with the permit of the agent that is gone
    await pod.proved(v1.name)
    assert await pod.asks() == wanted
    assert pod.process == process
    await pod.restarted()
    await pod.proved(v1.name, v2.name)


async def test_an_agent_that_ends_during_a_restart_is_followed_by_one_that_sees_it_through(
    pod: TgiPod, v1: Artifact, v2: Artifact
) -> None:
    await first(pod, v1)
    pod.give(v1, v2, live=v1)
    wanted = await pod.asks()
    pod.permit(wanted)
    await until(lambda: (order := EngineProcess(pod.control).order()) and not order.accepted)
    await pod.stop_agent()
    await pod.start_agent()
    assert (pod.sets.restarting, pod.sets.wanted) == (True, wanted)
    assert pod.given is not None
    pod.apply(pod.given)
    await pod.proved(v1.name, v2.name)
    assert (pod.sets.running, pod.sets.restarting) == (wanted, False)
    assert log(pod).count("loading") == 2


async def test_an_engine_that_dies_is_started_anew_with_its_set_and_proved_again(pod: TgiPod, v1: Artifact) -> None:
    await first(pod, v1)
    await comes_back_after(signal.SIGKILL, pod, v1)


@pytest.mark.parametrize("patience", [replace(QUICK, check=0.5, hung=2.0)])
async def test_an_engine_that_hangs_is_killed_and_comes_back_with_its_set(pod: TgiPod, v1: Artifact) -> None:
    await first(pod, v1)
    await comes_back_after(signal.SIGSTOP, pod, v1)


async def comes_back_after(signal_: signal.Signals, pod: TgiPod, member: Artifact) -> None:
    """The engine gets the signal, and is another process in another container with the set of before, proved."""
    process, running, starts = pod.process, pod.sets.running, pod.reconciler.health.state.starts
    os.kill(_launcher(pod), signal_)
    await until(lambda: pod.reconciler.health.state.starts > starts, what=lambda: pod.agent.state().engine)
    await pod.proved(member.name)
    assert pod.process != process
    assert (pod.containers, pod.sets.running, pod.sets.restarting) == (2, running, False)


def _launcher(pod: TgiPod) -> int:
    """The process that listens, found by the file that it alone was given."""
    for entry in Path("/proc").iterdir():
        try:
            command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        own = f"PORT={pod.engine_port}".encode() in environment.split(b"\0")
        if own and b"support.fake_launcher" in command and b"wrapper.py" not in command:
            return int(entry.name)
    raise AssertionError("no launcher runs")


def test_a_set_before_that_does_not_come_back_is_an_engine_that_is_down(tmp_path: Path) -> None:
    process = EngineProcess(tmp_path)
    process.give(ProcessOrder(start=Start(engine_set=digest("b")), fallback=Start(engine_set=digest("a"))))
    restarts = Restarts(process, SetFolders(tmp_path / "sets", 1), Drain(), QUICK)
    assert restarts.under_way
    restarts.give_up("it crashed")
    restarts.look(time.monotonic(), None)
    assert restarts.under_way
    restarts.look(time.monotonic() + QUICK.start, None)
    assert not restarts.under_way


# Streams


async def test_a_stream_that_is_refused_in_its_first_event_is_refused_by_a_status(pod: TgiPod, v1: Artifact) -> None:
    await first(pod, v1)
    (pod.faults / "overloaded").touch()
    async with streaming(pod, v1.name) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert "overloaded" in await answer.text()
    (pod.faults / "overloaded").unlink()
    assert (await _stream(pod, v1)).startswith(b"data: ")


# Before a router


async def test_with_two_replicas_no_request_fails_and_with_one_the_gap_is_said(
    store: Path, tmp_path: Path, v1: Artifact, v2: Artifact
) -> None:
    async with (
        tgi_pod(store, tmp_path / "one", patience=QUICK) as one,
        tgi_pod(store, tmp_path / "two", patience=QUICK) as two,
        gateway.router(one, two) as router,
    ):
        for pod in (one, two):
            await first(pod, v1)
        given = one.given
        assert given is not None
        router.apply(given.model_copy(update={"authentication": Authentication.NONE}))
        await router.sees(v1.name, one.address.requests, two.address.requests)
        answers: list[tuple[int, str, str]] = []
        asking = asyncio.create_task(_keep_asking(router.server.url, answers))
        for pod in (one, two):
            pod.give(v1, v2, live=v1)
            await pod.restarted()
            await pod.proved(v1.name, v2.name)
            await router.sees(v1.name, one.address.requests, two.address.requests)
        assert {code for code, *_ in answers} == {200}
        await two.stop_agent()
        answers.clear()
        v3 = publish(store, "cardiology-v3")
        one.give(v1, v2, v3, live=v1)
        await one.restarted()
        await one.proved(v1.name)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        refused = {answer for answer in answers if answer[0] != 200}
        assert refused >= {(503, "engine_restarting", "15")}
        assert refused - {(503, "engine_restarting", "15")} <= {(503, "no_proved_backend", "1")}  # while it is proved
        await two.start_agent()


async def _keep_asking(url: str, answers: list[tuple[int, str, str]]) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.post(f"{url}/v1/chat/completions", json=chat("cardiology")) as answer:
                said = await answer.json()
                code = said["error"]["code"] if answer.status != 200 else ""
                answers.append((answer.status, code, answer.headers.get("Retry-After", "")))
            await asyncio.sleep(0.01)
