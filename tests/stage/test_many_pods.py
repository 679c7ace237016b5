"""However the pods of an attempt end, the run does: never two attempts at once, and at last an Adapter or a reason.

Pods end in every class, with and without a word, before they ran, or never; they are evicted, vanish, and their nodes
do; Jobs and runs are suspended and resumed meanwhile, Jobs deleted; the operator and the Job controller look whenever
they do.
"""

import contextlib
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import results
from support.fake_cluster import FakeCluster, KilledError, later
from support.gauntlet import TIMES
from support.run_story import KEYS, Story, in_training

from wardrobe.api.children import RUN_LABEL
from wardrobe.api.meta import Key, Manifest
from wardrobe.stage.endings import UNREACHABLE_SECONDS
from wardrobe_contracts.exits import FAILURE_CODES, ExitCode, Reason
from wardrobe_contracts.result import Result

MOST_FAILED, MOST_LOST = 1, 3
"""Attempts that a run may cost; fewer than the default, so that stories come to that end, too."""
LEFT_ALONE = Result.failure("train", ExitCode.COMMUNICATION, Reason.PEERS_LOST, "Connection closed by peer")
DIVERGED = Result.failure("train", ExitCode.DIVERGED, Reason.DIVERGED, "inf").of_rank(1, ["step 7/114"])

Ending = Manifest | None
"""What a kubelet says of a container that has ended; None where the pod ended before it had one."""
Happening = Callable[[Story, int], object]


def said(result: Result) -> Manifest:
    return {"exitCode": int(result.exit_code), "message": result.termination_message()}


DONE = said(results.success("train"))
OUT_OF_MEMORY = {"exitCode": 137, "reason": "OOMKilled"}
ENDINGS: list[Ending] = [
    *(said(Result.failure("train", code, Reason.UNKNOWN, code.name)) for code in FAILURE_CODES),
    *({"exitCode": int(code)} for code in FAILURE_CODES),
    {"exitCode": 0},
    {"exitCode": 1, "message": "Traceback"},
    OUT_OF_MEMORY,
    {"exitCode": 137},
    {"exitCode": 137, "reason": "ContainerStatusUnknown"},
    {"exitCode": 128, "reason": "StartError", "message": "no such file"},
    None,
]


def training(nodes: int) -> Story:
    """Two runs train, each in so many pods."""
    return in_training(
        parallelism={"accelerator": "CPU", "nodes": nodes},
        training={"batchSize": 12, "microBatchSize": 1},
        restarts={"failure": MOST_FAILED, "infrastructure": MOST_LOST},
    )


def to_pod(change: Callable[[FakeCluster, Key], object]) -> Happening:
    """It happens to one of those that can still end."""

    def happens(story: Story, which: int) -> None:
        if pods := story.cluster.answering():
            change(story.cluster, pods[which % len(pods)])

    return happens


def to_job(change: Callable[[FakeCluster, Key], object]) -> Happening:
    def happens(story: Story, which: int) -> None:
        if jobs := [key for key in sorted(story.cluster.objects) if key.kind == "Job"]:
            change(story.cluster, jobs[which % len(jobs)])

    return happens


def ends(ending: Ending, cluster: FakeCluster, pod: Key) -> None:
    cluster.terminate(pod, ending)


def becomes(status: Manifest, cluster: FakeCluster, pod: Key) -> None:
    cluster.objects[pod]["status"] = dict(status)


def delete_by_force(cluster: FakeCluster, job: Key) -> None:
    """Nothing is left of the Job and its pods."""
    for pod in cluster.pods_of(cluster.objects[job]):
        cluster.vanish(pod)
    cluster.delete(job)


def suspend_run(story: Story, which: int) -> None:
    story.spec(KEYS[1 + which % 2], suspend=True)


def resume_run(story: Story, which: int) -> None:
    story.spec(KEYS[1 + which % 2], suspend=False)


def wipe(story: Story, which: int) -> None:
    story.cluster.objects[KEYS[which % len(KEYS)]].pop("status", None)


def kill(story: Story, which: int) -> None:
    """The operator dies in the middle of its work."""
    story.cluster.writes_left = which + 1
    with contextlib.suppress(KilledError):
        story.look()
    story.cluster.writes_left = None


def pass_time(story: Story, seconds: float) -> None:
    """Kubelets that are there kill what was told to stop, and has not in time."""
    cluster = story.cluster
    cluster.now = later(cluster.now, seconds)
    for pod in cluster.answering():
        if cluster.objects[pod]["metadata"].get("deletionTimestamp", cluster.now) < cluster.now:
            cluster.terminate(pod, {"exitCode": 137})


NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no GPU."}
HAPPENINGS: dict[str, Happening] = {
    **{f"a pod ends as {ending}": to_pod(partial(ends, ending)) for ending in ENDINGS},
    "a pod ends well": lambda story, which: story.end_a_pod(which),
    "a pod runs": to_pod(partial(becomes, {"phase": "Running", "podIP": "10.0.0.7"})),
    "a pod finds no node": to_pod(partial(becomes, {"phase": "Pending", "conditions": [NO_NODE]})),
    "a pod is evicted": to_pod(FakeCluster.disrupt),
    "a pod is gone": to_pod(FakeCluster.vanish),
    "a node is gone": to_pod(FakeCluster.lose_node),
    "pods start": lambda story, _: story.cluster.start_pods(),
    "pods are collected": lambda story, _: story.cluster.collect_pods(),
    "the Job controller looks": lambda story, _: story.cluster.control_jobs(),
    "a Job is suspended": to_job(FakeCluster.suspend),
    "a Job is resumed": to_job(FakeCluster.resume),
    "a Job is deleted": to_job(FakeCluster.delete),
    "a Job is deleted by force": to_job(delete_by_force),
    "a run is suspended": suspend_run,
    "a run is resumed": resume_run,
    "a status is wiped": wipe,
    "the operator is killed": kill,
    "a minute goes by": lambda story, _: pass_time(story, 60),
}


def assert_one_at_a_time(story: Story) -> None:
    """Of each run at most one attempt could run: its Job stays, with no end and not suspended, or a pod of it lives."""
    cluster, runs = story.cluster, dict[str, set[str]]()
    for key, found in cluster.objects.items():
        goes = "deletionTimestamp" in found["metadata"] or found.get("spec", {}).get("suspend")
        if key.kind == "Job" and not goes and not found.get("status", {}).get("conditions"):
            runs.setdefault(found["metadata"]["labels"][RUN_LABEL], set()).add(key.name)
    for key in cluster.pods():
        metadata = cluster.objects[key]["metadata"]
        if key not in cluster.lost or cluster.now < later(metadata["deletionTimestamp"], UNREACHABLE_SECONDS):
            runs.setdefault(metadata["labels"][RUN_LABEL], set()).add(metadata["ownerReferences"][0]["name"])
    assert all(len(running) <= 1 for running in runs.values()), runs


def settle(story: Story) -> None:
    """People and queues let in what waits, controllers look, time goes by, and pods end well, until all have an end."""
    for which in (0, 1):
        resume_run(story, which)
    for _ in range(60):
        for key in [key for key in story.cluster.objects if key.kind == "Job"]:
            story.cluster.resume(key)
        story.cluster.control_jobs()
        pass_time(story, 600)
        story.settle()
        if all(top(story, key)["status"] != "Unknown" for key in KEYS):
            return
    raise AssertionError("it never ends")


def top(story: Story, key: Key) -> Manifest:
    found = story.cluster.objects[key].get("status", {}).get("conditions", [])
    return next((c for c in found if c["type"] in {"Succeeded", "Ready"}), {"status": "Unknown"})


def assert_ended_and_said_why(story: Story) -> None:
    """The reason is one that docs/conditions.md has there: the cluster holds every status against it."""
    for key in KEYS[1:]:
        end, found = top(story, key), story.cluster.objects[key]["status"]
        published = found.get("adapter") in story.cluster.names("Adapter")
        assert (end["status"], published) in {("True", True), ("False", False)}
        assert end["message"]
        codes = {code.name for code in ExitCode}  # beside them: how a person stopped it, and Unknown
        results = [ExitCode[one["result"]] for one in found.get("attempts", []) if one["result"] in codes]
        assert sum(not code.infrastructure and code is not ExitCode.SUCCEEDED for code in results) <= MOST_FAILED + 1


def assert_numbers_are_used_once(story: Story) -> None:
    jobs = [key.name for key in story.cluster.created if key.kind == "Job"]
    assert sorted(set(jobs)) == sorted(jobs)


moves = st.tuples(st.sampled_from(sorted(HAPPENINGS)), st.integers(0, 7), st.booleans())


ASSESS_ENDS_AS_TRAINING_DOES = [
    ("a pod ends as None", 0, False),
    ("a pod ends well", 0, True),
    ("pods start", 0, False),
    ("a node is gone", 0, False),
    ("a pod ends as {'exitCode': 68}", 0, False),
]


@given(st.integers(1, 4), st.lists(moves, max_size=60))
@example(1, ASSESS_ENDS_AS_TRAINING_DOES)
@settings(max_examples=150 * TIMES, deadline=None)
def test_any_combination_of_ended_children_ends_the_run(nodes: int, events: list[tuple[str, int, bool]]) -> None:
    story = training(nodes)
    for what, which, seen in events:
        HAPPENINGS[what](story, which)
        if seen:
            story.look()
        assert_one_at_a_time(story)
    settle(story)
    assert_one_at_a_time(story)
    assert_ended_and_said_why(story)
    assert_numbers_are_used_once(story)


ALONE = said(LEFT_ALONE)
STORIES: list[tuple[str, list[Ending], tuple[str, str]]] = [
    ("all did their part", [DONE] * 3, ("True", "Succeeded")),
    ("one diverged, the others were left alone", [ALONE, said(DIVERGED), ALONE], ("False", "Diverged")),
    ("one had no memory and no word", [ALONE, ALONE, OUT_OF_MEMORY], ("True", "Succeeded")),
    ("one never ran", [ALONE, None, ALONE], ("True", "Succeeded")),
]


@pytest.mark.parametrize(("endings", "end"), [row[1:] for row in STORIES], ids=[row[0] for row in STORIES])
def test_how_three_pods_end_together(endings: list[Ending], end: tuple[str, str]) -> None:
    """What may come and go, and what the infrastructure took, is made again; what would fail again is not."""
    story = training(3)
    pods = [key for key in story.cluster.pods() if key.name.startswith(KEYS[1].name)]
    for pod, how in zip(pods, endings, strict=True):
        story.cluster.terminate(pod, how)
        story.look()
        assert_one_at_a_time(story)
    settle(story)
    found = top(story, KEYS[1])
    assert (found["status"], found["reason"]) == end
    told = [event["message"] for event in story.cluster.events if event["reason"] == "Diverged"]
    assert told == (["training: inf\nrank 1, at last:\nstep 7/114"] if end[1] == "Diverged" else [])
