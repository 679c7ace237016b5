"""Any order and repetition of events ends the same; so does an operator that is killed after any write.

The operator's reconcile runs on a cluster in memory; a hand of hypothesis deals what happens next.
"""

import contextlib
import copy
import functools
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import resources, results
from support.fake_cluster import FakeCluster, KilledError, kill_after
from support.gauntlet import TIMES
from support.run_story import KEYS, NAMESPACE, PREEMPTED, RUNS, Story, new_story

from wardrobe.api.meta import Key
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS
from wardrobe.plan.plan import RESYNC_SECONDS
from wardrobe_contracts.base import Task


def assert_finished(cluster: FakeCluster, *, attempts: int | None = 1) -> None:
    """Two runs of one line: two Adapters, each named by one run, nothing left claimed."""
    runs = [cluster.objects[key]["status"] for key in KEYS[1:]]
    assert sorted(status["adapter"] for status in runs) == cluster.names("Adapter")
    assert len(cluster.names("Adapter")) == 2
    assert all(_condition(status, "Succeeded") == "True" for status in runs)
    line = cluster.objects[Key("ConfigMap", NAMESPACE, "wardrobe-line-cardiology")]["data"]
    assert [name for name in line if name.startswith("claim.")] == []
    if attempts:
        assert cluster.names("Adapter") == ["cardiology-v1", "cardiology-v2"]
        assert len(cluster.names("Job")) == 1 + 2 * (2 + attempts)


def _condition(status: dict[str, Any], kind: str) -> str:
    found: str = next(c["status"] for c in status["conditions"] if c["type"] == kind)
    return found


happenings = st.one_of(
    st.tuples(st.just("reconcile"), st.integers(0, len(KEYS) - 1)),
    st.tuples(st.just("pods start"), st.just(0)),
    st.tuples(st.just("pod ends"), st.integers(0, 5)),
    st.tuples(st.just("pod is lost"), st.integers(0, 5)),
    st.tuples(st.just("status wiped"), st.integers(0, len(KEYS) - 1)),
    st.tuples(st.just("killed after"), st.integers(1, 6)),
    st.tuples(st.just("suspended"), st.integers(1, len(RUNS))),
    st.tuples(st.just("resumed"), st.integers(1, len(RUNS))),
    st.tuples(st.just("pods are collected"), st.just(0)),
)


def happen(story: Story, what: str, which: int) -> None:
    match what:
        case "reconcile":
            story.reconcile(KEYS[which])
        case "pods start":
            story.cluster.start_pods()
        case "pod ends":
            story.end_a_pod(which)
        case "pod is lost":
            story.lose_a_pod(which)
        case "status wiped":
            story.cluster.objects[KEYS[which]].pop("status", None)
        case "suspended" | "resumed":
            story.spec(KEYS[which], suspend=what == "suspended")
        case "pods are collected":
            story.cluster.collect_pods()
        case "killed after":
            story.cluster.writes_left = which
            with contextlib.suppress(KilledError):
                for key in KEYS:
                    story.reconcile(key)
            story.cluster.writes_left = None


@given(st.lists(happenings, max_size=40))
@settings(max_examples=60 * TIMES, deadline=None)
def test_any_order_of_events_ends_the_same(events: list[tuple[str, int]]) -> None:
    story = new_story()
    for what, which in events:
        happen(story, what, which)
    # A Job whose pod vanished while running stays as it is in this cluster: its controller would fail it.
    fail_abandoned_jobs(story.cluster)
    story.settle()
    for key in KEYS[1:]:
        story.spec(key, suspend=False)
    story.settle()
    assert_finished(story.cluster, attempts=None)
    writes = story.cluster.writes
    for key in KEYS:
        story.reconcile(key)
    assert story.cluster.writes == writes, "nothing was left to do"


def fail_abandoned_jobs(cluster: FakeCluster) -> None:
    """What the Job controller does with a Job whose pod was deleted: with our policy, a disruption."""
    for key, job in cluster.objects.items():
        status = job.get("status", {})
        if key.kind == "Job" and status.get("startTime") and not cluster.pods_of(job):
            message = "Pod a/b has condition DisruptionTarget matching FailJob rule at index 1"
            status.setdefault("conditions", [{"type": "Failed", "status": "True", "message": message}])


def test_killed_after_each_write_of_a_life() -> None:
    """The operator dies right after its n-th write, for every n of a whole life, and is started again."""
    undisturbed = new_story()
    undisturbed.settle()
    assert_finished(undisturbed.cluster)
    for n in range(1, undisturbed.cluster.writes + 1):
        story = new_story()
        kill_after(story.cluster, n, story.settle)
        assert_finished(story.cluster)


def test_reconciling_twice_changes_nothing() -> None:
    story = new_story()
    story.settle()
    writes = story.cluster.writes
    for key in KEYS * 2:
        story.reconcile(key)
    assert story.cluster.writes == writes


def test_wiped_statuses_come_back_without_a_new_pod() -> None:
    story = new_story()
    story.settle()
    before = {key: story.cluster.objects[key].pop("status") for key in KEYS}
    jobs = story.cluster.names("Job")
    story.settle()
    assert {key: story.cluster.objects[key]["status"] for key in KEYS} == before
    assert story.cluster.names("Job") == jobs


def test_preempted_attempts_are_made_again_up_to_a_bound() -> None:
    story = new_story()
    for _ in range(200):
        story.reconcile(KEYS[0])
        story.reconcile(KEYS[1])
        story.cluster.start_pods()
        for index, key in enumerate(story.cluster.pods()):
            training = story.cluster.objects[key]["metadata"]["labels"]["wardrobe.dev/task"] == "train"
            story.end_a_pod(index, PREEMPTED if training else None)
    status = story.cluster.objects[KEYS[1]]["status"]
    top = next(c for c in status["conditions"] if c["type"] == "Succeeded")
    assert (top["status"], top["reason"]) == ("False", "RetriesExhausted")
    assert status["restarts"] == 10
    assert [found["result"] for found in status["attempts"]] == ["PREEMPTED"] * 11


def test_a_deleted_adapter_is_not_made_again_and_its_number_not_used_again() -> None:
    story = new_story()
    story.settle()
    names = story.cluster.names("Adapter")
    for name in names:
        story.cluster.delete(Key("Adapter", NAMESPACE, name))
    for key in KEYS:
        story.cluster.objects[key].pop("status")
    story.cluster.put(resources.run("cardiology-c"), NAMESPACE)
    story.settle()
    for _ in range(12):
        story.reconcile(Key("FineTuneJob", NAMESPACE, "cardiology-c"))
        story.settle()
    assert story.cluster.names("Adapter") == ["cardiology-v3"]


def said(story: Story, key: Key, kind: str) -> tuple[str, str]:
    found = next(c for c in story.cluster.objects[key]["status"]["conditions"] if c["type"] == kind)
    return found["status"], found["reason"]


LINE = Key("ConfigMap", NAMESPACE, "wardrobe-line-cardiology")


@pytest.mark.parametrize(
    "written", [{"data": {"next": "many"}}, {"data": {}}, {}], ids=["no number", "nothing in it", "no data"]
)
def test_a_line_that_cannot_be_read_is_said_and_stops_nobody_else(written: dict[str, Any]) -> None:
    story = new_story()
    story.cluster.put({"kind": "ConfigMap", "metadata": {"name": LINE.name, "namespace": NAMESPACE}, **written})
    story.cluster.put(resources.run("lung", line="lung"), NAMESPACE)
    story.settle()
    for _ in range(8):
        story.reconcile(Key("FineTuneJob", NAMESPACE, "lung"))
        story.settle()
    assert story.cluster.names("Adapter") == ["lung-v1"]
    for key in KEYS[1:]:
        assert said(story, key, "Succeeded") == ("Unknown", "RecordUnreadable")
        assert said(story, key, "Stalled")[0] == "True"
        assert said(story, key, "Reconciling")[0] == "False"
    story.cluster.put({**story.cluster.objects[LINE], "data": {"next": "4"}})
    story.settle()
    assert story.cluster.names("Adapter") == ["cardiology-v4", "cardiology-v5", "lung-v1"]


def test_a_finished_run_whose_line_cannot_be_read_is_looked_at_again() -> None:
    story = new_story()
    story.settle()
    story.cluster.objects[LINE]["data"] = {"next": "many"}
    story.settle()
    assert said(story, KEYS[1], "Succeeded") == ("True", "Succeeded")


def test_attempts_that_cannot_be_read_are_said_and_nothing_is_made() -> None:
    story = in_check()
    record = Key("ConfigMap", NAMESPACE, next(n for n in story.cluster.names("ConfigMap") if n.startswith(RUNS[0])))
    data = story.cluster.objects[record]["data"]
    story.cluster.objects[record]["data"] = {"check.1": "Whatever"}
    story.settle()
    assert said(story, KEYS[1], "Succeeded") == ("Unknown", "RecordUnreadable")
    assert said(story, KEYS[2], "Succeeded") == ("True", "Succeeded")
    story.cluster.objects[record]["data"] = data
    story.settle()
    assert_finished(story.cluster)


def test_a_status_comes_back_though_the_attempts_cannot_be_read() -> None:
    """What was published is known from the Adapter; a record that is not ours to write is left as it is."""
    story = new_story()
    story.settle()
    record = Key("ConfigMap", NAMESPACE, next(n for n in story.cluster.names("ConfigMap") if n.startswith(RUNS[0])))
    story.cluster.objects[record]["data"] = {"train.1": "Whatever"}
    before = said(story, KEYS[1], "Succeeded")
    story.cluster.objects[KEYS[1]]["status"] = {}
    story.settle()
    assert said(story, KEYS[1], "Succeeded") == before == ("True", "Succeeded")
    assert story.cluster.objects[record]["data"] == {"train.1": "Whatever"}


def test_a_run_that_goes_on_is_looked_at_every_few_minutes_and_one_that_waits_for_a_person_more_often() -> None:
    story = in_check()
    assert story.reconcile(KEYS[1]).requeue_after == RESYNC_SECONDS
    story = new_story()
    story.cluster.put({"kind": "ConfigMap", "metadata": {"name": LINE.name, "namespace": NAMESPACE}, "data": {}})
    story.settle()
    assert said(story, KEYS[1], "Succeeded") == ("Unknown", "RecordUnreadable")
    assert story.reconcile(KEYS[1]).requeue_after == LOOK_AGAIN_SECONDS


def in_check() -> Story:
    """Both runs check their datasets."""
    story = new_story()
    while sum("-check-1" in name for name in story.cluster.names("Job")) < len(RUNS):
        for key in KEYS:
            story.reconcile(key)
        story.cluster.start_pods()
        story.end_a_pod(0)
    return story


def test_a_job_made_by_hand_is_neither_believed_nor_touched() -> None:
    """It has the name, the labels and a result with scores; only the run's uid does not stand behind it."""
    story = new_story()
    run = f"{RUNS[0]}-{story.cluster.objects[KEYS[1]]['metadata']['uid'][:8]}"
    theirs = [forged_job(run, task) for task in ("check", "train", "assess")]
    for job in theirs:
        story.cluster.put(job)
    story.settle()
    assert said(story, KEYS[1], "Succeeded") == ("Unknown", "ApiRefused")
    assert said(story, KEYS[2], "Succeeded") == ("True", "Succeeded")
    assert story.cluster.names("Adapter") == ["cardiology-v1"]
    for job in theirs:
        key = Key("Job", NAMESPACE, job["metadata"]["name"])
        assert story.cluster.objects[key]["metadata"]["annotations"] == job["metadata"]["annotations"]
        story.cluster.delete(key)
    story.settle()
    assert_finished(story.cluster)


def test_a_job_that_is_deleted_after_its_end_was_seen_costs_no_attempt() -> None:
    story = in_check()
    for key in KEYS:
        story.reconcile(key)
    job = next(key for key in story.cluster.objects if key.kind == "Job" and "-check-1" in key.name)
    story.cluster.collect_pods()
    story.cluster.delete(job)
    story.settle()
    assert sum("-check-" in key.name for key in story.cluster.created) == len(RUNS)
    assert story.cluster.names("Adapter") == ["cardiology-v1", "cardiology-v2"]


def test_an_adapter_that_an_earlier_release_has_published_is_not_made_again() -> None:
    """It wrote results and the Adapter's name to its Jobs."""
    story = new_story()
    story.settle()
    before = story.cluster.objects[KEYS[1]].pop("status")
    for key, found in story.cluster.objects.items():
        if key.kind == "ConfigMap" and key.name.startswith(RUNS[0]):
            metadata, run = found["metadata"], key.name.removesuffix("-attempts")
            said = metadata.pop("annotations")
    jobs = {
        task: story.cluster.objects[Key("Job", NAMESPACE, f"{run}-{task}-1")] for task in ("check", "train", "assess")
    }
    for task, job in jobs.items():
        job["metadata"]["annotations"]["wardrobe.dev/result"] = said[f"wardrobe.dev/result.{task}.1"]
    jobs["assess"]["metadata"]["annotations"]["wardrobe.dev/adapter"] = said["wardrobe.dev/adapter"]
    story.cluster.delete(Key("Adapter", NAMESPACE, before["adapter"]))
    story.settle()
    assert story.cluster.objects[KEYS[1]]["status"] == before
    assert len(story.cluster.names("Adapter")) == len(RUNS) - 1


def forged_job(run: str, task: Task) -> dict[str, Any]:
    labels = {"wardrobe.dev/run": run, "wardrobe.dev/task": task, "wardrobe.dev/number": "1"}
    metadata = {
        "name": f"{run}-{task}-1",
        "namespace": NAMESPACE,
        "labels": labels,
        "annotations": {"wardrobe.dev/result": results.success(task).termination_message()},
    }
    status = {"conditions": [{"type": "Complete", "status": "True"}]}
    return {"kind": "Job", "metadata": metadata, "spec": {}, "status": status}


def test_a_record_of_attempts_that_is_another_s_is_left_alone() -> None:
    story = new_story()
    name = f"{RUNS[0]}-{story.cluster.objects[KEYS[1]]['metadata']['uid'][:8]}-attempts"
    theirs = {"kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": {"x": "y"}}
    story.cluster.put(theirs)
    story.settle()
    assert said(story, KEYS[1], "Succeeded") == ("Unknown", "NameTaken")
    assert story.cluster.objects[Key("ConfigMap", NAMESPACE, name)]["data"] == {"x": "y"}
    story.cluster.delete(Key("ConfigMap", NAMESPACE, name))
    story.settle()
    assert_finished(story.cluster)


@pytest.mark.parametrize(
    ("key", "spec", "condition"),
    [
        (KEYS[1], {"method": "FutureMethod"}, "Succeeded"),
        (KEYS[0], {"variants": ["FP2"]}, "Ready"),
    ],
    ids=["a run", "a base"],
)
def test_a_resource_of_another_release_is_said_and_stops_nobody_else(
    key: Key, spec: dict[str, Any], condition: str
) -> None:
    story = new_story()
    good = story.cluster.objects[key]["spec"]
    story.cluster.objects[key]["spec"] = good | spec
    story.settle()
    assert said(story, key, condition) == ("Unknown", "ObjectUnreadable")
    assert said(story, key, "Stalled")[0] == "True"
    if key == KEYS[0]:
        assert said(story, KEYS[1], "Succeeded") == ("Unknown", "BaseModelNotFound")
    else:
        assert said(story, KEYS[2], "Succeeded") == ("True", "Succeeded")
    story.cluster.objects[key]["spec"] = good
    story.settle()
    assert_finished(story.cluster)


def test_a_status_that_cannot_be_read_is_made_again() -> None:
    story = new_story()
    story.settle()
    before = story.cluster.objects[KEYS[1]]["status"]
    story.cluster.objects[KEYS[1]]["status"] = {**before, "attempts": "several"}
    story.settle()
    assert story.cluster.objects[KEYS[1]]["status"] == before


@pytest.mark.parametrize(
    "facts",
    [
        {"digest": results.digest("9")},
        {"manifestDigest": results.digest("9")},
        {"evaluations": []},
        {"lineage": None},
        {"version": "none"},
    ],
    ids=["digest", "manifest", "scores", "lineage", "unreadable"],
)
def test_an_adapter_that_only_claims_to_be_the_runs_is_not_taken_for_it(facts: dict[str, Any]) -> None:
    """It appears under the number that the run has claimed, before the run has made its own."""
    whole = new_story()
    whole.settle()
    story = in_claim()
    cluster = story.cluster
    real = copy.deepcopy(whole.cluster.objects[Key("Adapter", NAMESPACE, "cardiology-v1")])
    real["metadata"]["labels"] = {"wardrobe.dev/run-uid": cluster.objects[KEYS[1]]["metadata"]["uid"]}
    real["spec"]["lineage"]["job"]["uid"] = cluster.objects[KEYS[1]]["metadata"]["uid"]
    cluster.put({**real, "spec": real["spec"] | facts})
    story.settle()
    assert cluster.names("Adapter") == ["cardiology-v1", "cardiology-v2", "cardiology-v3"]
    assert {cluster.objects[key]["status"]["adapter"] for key in KEYS[1:]} == {"cardiology-v2", "cardiology-v3"}


def killed_after(writes: int) -> Story:
    story = new_story()
    story.cluster.writes_left = writes
    with contextlib.suppress(KilledError):
        story.settle()
    story.cluster.writes_left = None
    return story


@functools.cache
def writes_until_a_claim() -> int:
    return next(n for n in itertools.count(1) if LINE in killed_after(n).cluster.objects)


def in_claim() -> Story:
    """A run has claimed its number, and the operator has died."""
    return killed_after(writes_until_a_claim())


def test_no_reconcile_of_a_run_lists_all_adapters_or_runs() -> None:
    story = new_story()
    story.settle()
    unbounded = {kind for kind, selector, fields in story.cluster.listed if not selector and not fields}
    assert unbounded <= {"AdapterDeployment"}, "which is an Adapter's own business"
    adapters = [fields for kind, _, fields in story.cluster.listed if kind == "Adapter"]
    assert adapters == ["spec.line=cardiology"] * len(RUNS), "once a run, when it takes its number"
