"""Any order and repetition of events ends the same; so does an operator that is killed after any write.

The operator's reconcile runs on a cluster in memory; a hand of hypothesis deals what happens next.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import resources, results
from support.fake_cluster import FakeCluster, KilledError

from wardrobe.api.meta import Key
from wardrobe.kube.client import ConflictError
from wardrobe.podstates import PodStates
from wardrobe.reconcile import Reconciler
from wardrobe.settings import Settings
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result

NAMESPACE = "hospital"
RUNS = ("cardiology-a", "cardiology-b")
KEYS = [Key("BaseModel", NAMESPACE, "base"), *(Key("FineTuneJob", NAMESPACE, name) for name in RUNS)]
PREEMPTED = Result(task="train", exit_code=ExitCode.PREEMPTED, reason=Reason.TERMINATED, message="the node drains")


class NoPolling:
    """Progress is another story."""

    def follow(self, key: Key, url: str) -> None: ...

    async def forget(self, key: Key) -> None: ...


@dataclass
class Story:
    """A cluster, and what can happen in it."""

    cluster: FakeCluster

    def reconcile(self, key: Key) -> None:
        """One reconcile by a fresh operator: nothing is remembered from the last one."""
        reconciler: Any = Reconciler(
            self.cluster, Settings("none", "none", "none"), NoPolling(), PodStates(), lambda: "2026-01-01T00:00:00Z"
        )
        with contextlib.suppress(ConflictError):
            asyncio.run(reconciler.reconcile(key))

    def end_a_pod(self, choice: int, result: Result | None = None) -> None:
        """One running pod ends, well unless said otherwise."""
        if pods := self.cluster.pods():
            key = pods[choice % len(pods)]
            task = self.cluster.objects[key]["metadata"]["labels"]["wardrobe.dev/task"]
            self.cluster.end_pod(key, result or results.success(task))

    def lose_a_pod(self, choice: int) -> None:
        """A pod object disappears, with whatever it had to say."""
        if pods := self.cluster.pods(running=False):
            self.cluster.delete(pods[choice % len(pods)])

    def settle(self) -> None:
        """Let everything happen until nothing does."""
        for _ in range(60):
            before = self.cluster.writes
            for key in [*KEYS, *(Key("Adapter", NAMESPACE, name) for name in self.cluster.names("Adapter"))]:
                self.reconcile(key)
            self.cluster.start_pods()
            busy = bool(self.cluster.pods())
            self.end_a_pod(0)
            if not busy and self.cluster.writes == before:
                return
        raise AssertionError("it never settles")


def new_story() -> Story:
    cluster = FakeCluster()
    for manifest in (resources.base_model(), *(resources.run(name) for name in RUNS)):
        manifest["metadata"]["namespace"] = NAMESPACE
        cluster.put(manifest)
    for claim in ("wardrobe-store", "models", "datasets"):
        metadata = {"name": claim, "namespace": NAMESPACE}
        cluster.put({"kind": "PersistentVolumeClaim", "metadata": metadata})
    return Story(cluster)


def assert_finished(cluster: FakeCluster, *, attempts: int | None = 1) -> None:
    """Two runs of one line: two versions, each named by one run, nothing left claimed."""
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
        case "killed after":
            story.cluster.writes_left = which
            with contextlib.suppress(KilledError):
                for key in KEYS:
                    story.reconcile(key)
            story.cluster.writes_left = None


@given(st.lists(happenings, max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_order_of_events_ends_the_same(events: list[tuple[str, int]]) -> None:
    story = new_story()
    for what, which in events:
        happen(story, what, which)
    # A Job whose pod vanished while running stays as it is in this cluster: its controller would fail it.
    fail_abandoned_jobs(story.cluster)
    story.settle()
    assert_finished(story.cluster, attempts=None)


def fail_abandoned_jobs(cluster: FakeCluster) -> None:
    """What the Job controller does with a Job whose pod was deleted: with our policy, a disruption."""
    owned = {p["metadata"]["ownerReferences"][0]["uid"] for k, p in cluster.objects.items() if k.kind == "Pod"}
    for key, job in cluster.objects.items():
        status = job.get("status", {})
        if key.kind == "Job" and status.get("started") and job["metadata"]["uid"] not in owned:
            message = "Pod a/b has condition DisruptionTarget matching FailJob rule at index 1"
            status.setdefault("conditions", [{"type": "Failed", "status": "True", "message": message}])


def test_killed_after_each_write_of_a_life() -> None:
    """The operator dies right after its n-th write, for every n of a whole life, and is started again."""
    undisturbed = new_story()
    undisturbed.settle()
    assert_finished(undisturbed.cluster)
    for n in range(1, undisturbed.cluster.writes + 1):
        story = new_story()
        story.cluster.writes_left = n
        with pytest.raises(KilledError):
            story.settle()
        story.cluster.writes_left = None
        story.settle()
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
    assert status["attempts"] == 11


def test_a_deleted_version_is_not_made_again_and_its_number_not_used_again() -> None:
    story = new_story()
    story.settle()
    names = story.cluster.names("Adapter")
    for name in names:
        story.cluster.delete(Key("Adapter", NAMESPACE, name))
    for key in KEYS:
        story.cluster.objects[key].pop("status")
    third = resources.run("cardiology-c")
    third["metadata"]["namespace"] = NAMESPACE
    story.cluster.put(third)
    story.settle()
    for _ in range(12):
        story.reconcile(Key("FineTuneJob", NAMESPACE, "cardiology-c"))
        story.settle()
    assert story.cluster.names("Adapter") == ["cardiology-v3"]
