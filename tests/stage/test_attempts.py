"""Whatever is suspended, resumed, evicted or deleted by hand: one attempt at a time, each number once, and an end."""

import contextlib
import itertools
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_cluster import KilledError
from support.gauntlet import TIMES
from support.run_story import KEYS, PREEMPTED, Story, in_training, new_story

from wardrobe.api.children import RUN_LABEL
from wardrobe.api.meta import Key
from wardrobe.stage.record import read_record
from wardrobe.stage.stage import Retries


def evict(story: Story, which: int) -> None:
    if pods := story.cluster.pods():
        story.cluster.disrupt(pods[which % len(pods)])


def a_job(story: Story, which: int) -> Key | None:
    jobs = [key for key in sorted(story.cluster.objects) if key.kind == "Job"]
    return jobs[which % len(jobs)] if jobs else None


def suspend(story: Story, which: int) -> None:
    if job := a_job(story, which):
        story.cluster.suspend(job)


def resume(story: Story, which: int) -> None:
    if job := a_job(story, which):
        story.cluster.resume(job)


def delete(story: Story, which: int) -> None:
    """Its pod, if it has one, is told to stop."""
    if job := a_job(story, which):
        story.cluster.delete(job)


def delete_by_force(story: Story, which: int) -> None:
    """Nothing is left of the Job and its pod."""
    if job := a_job(story, which):
        pods = story.cluster.pods_of(story.cluster.objects[job])
        story.cluster.delete(job)
        for pod in pods:
            story.cluster.objects.pop(pod, None)


def wipe(story: Story, which: int) -> None:
    story.cluster.objects[KEYS[which % len(KEYS)]].pop("status", None)


def kill(story: Story, which: int) -> None:
    """The operator dies in the middle of its work."""
    story.cluster.writes_left = which + 1
    with contextlib.suppress(KilledError):
        for key in KEYS:
            story.reconcile(key)
    story.cluster.writes_left = None


def suspend_run(story: Story, which: int) -> None:
    story.spec(KEYS[1 + which % 2], suspend=True)


def resume_run(story: Story, which: int) -> None:
    story.spec(KEYS[1 + which % 2], suspend=False)


HAPPENINGS: dict[str, Callable[[Story, int], object]] = {
    "reconcile": lambda story, which: story.reconcile(KEYS[which % len(KEYS)]),
    "pods start": lambda story, _: story.cluster.start_pods(),
    "pods are collected": lambda story, _: story.cluster.collect_pods(),
    "a pod ends well": lambda story, which: story.end_a_pod(which),
    "a pod is preempted": lambda story, which: story.end_a_pod(which, PREEMPTED),
    "a pod is evicted": evict,
    "a Job is suspended": suspend,
    "a Job is resumed": resume,
    "a run is suspended": suspend_run,
    "a run is resumed": resume_run,
    "a Job is deleted": delete,
    "a Job is deleted by force": delete_by_force,
    "a status is wiped": wipe,
    "the operator is killed": kill,
}


def assert_one_at_a_time(story: Story) -> None:
    """Of each run at most one attempt could run: its Job is neither ended nor suspended, or a pod of it lives."""
    cluster = story.cluster
    runs: dict[str, set[str]] = {}
    for key, found in cluster.objects.items():
        labels = found["metadata"].get("labels", {})
        status = found.get("status", {})
        stays = "deletionTimestamp" not in found["metadata"]
        if key.kind == "Job" and stays and not status.get("conditions") and not found["spec"].get("suspend"):
            runs.setdefault(labels[RUN_LABEL], set()).add(key.name)
        if key in cluster.pods():
            runs.setdefault(labels[RUN_LABEL], set()).add(found["metadata"]["ownerReferences"][0]["name"])
    assert all(len(running) <= 1 for running in runs.values()), runs


def stopped(story: Story, task_of_run: str) -> int:
    """Attempts that a person's suspending has ended."""
    run = task_of_run.rpartition("-")[0]
    record = read_record(story.cluster.objects.get(Key("ConfigMap", KEYS[1].namespace, f"{run}-attempts")))
    return sum(mark == "Suspended" and task_of_run.endswith(task) for (task, _), mark in record.marks.items())


def assert_numbers_are_used_once(story: Story) -> None:
    jobs = [key.name for key in story.cluster.created if key.kind == "Job"]
    assert sorted(set(jobs)) == sorted(jobs)
    for name, numbers in itertools.groupby(sorted(jobs), key=lambda name: name.rpartition("-")[0]):
        assert len(list(numbers)) <= Retries().most + 1 + stopped(story, name)


def settle(story: Story) -> None:
    """People and queues let in what waits, and everything happens until nothing does."""
    for which in (0, 1):
        resume_run(story, which)
    for _ in range(Retries().most * 3):
        for key in list(story.cluster.objects):
            if key.kind == "Job":
                story.cluster.resume(key)
        story.settle()
        if all(ended(story, key) for key in KEYS):
            return
    raise AssertionError("it never ends")


def ended(story: Story, key: Key) -> bool:
    conditions = story.cluster.objects[key]["status"]["conditions"]
    return any(c["type"] in {"Succeeded", "Ready"} and c["status"] != "Unknown" for c in conditions)


def test_a_job_that_the_api_does_not_make_costs_no_number() -> None:
    story = new_story()
    story.reconcile(KEYS[0])
    story.cluster.start_pods()
    story.end_a_pod(0)
    story.reconcile(KEYS[0])
    story.reconcile(KEYS[1])
    (name,) = (name for name in story.cluster.names("Job") if "-check-1" in name)
    own = Key("Job", KEYS[1].namespace, name)
    story.cluster.delete(own)
    story.cluster.objects.pop(Key("ConfigMap", own.namespace, name.replace("check-1", "attempts")))
    story.cluster.put({"kind": "Job", "metadata": {"name": name, "namespace": own.namespace}, "spec": {}})
    for _ in range(3):
        story.reconcile(KEYS[1])
    story.cluster.delete(own)
    story.reconcile(KEYS[1])
    assert [name for name in story.cluster.names("Job") if "-check-" in name] == [own.name]


moves = st.tuples(st.sampled_from(sorted(HAPPENINGS)), st.integers(0, 5), st.booleans())


@given(st.lists(moves, max_size=60))
@settings(max_examples=100 * TIMES, deadline=None)
def test_one_attempt_at_a_time_each_number_once_and_an_end(events: list[tuple[str, int, bool]]) -> None:
    story = in_training()
    for what, which, seen in events:
        HAPPENINGS[what](story, which)
        if seen:
            story.look()
        assert_one_at_a_time(story)
    settle(story)
    assert_numbers_are_used_once(story)
