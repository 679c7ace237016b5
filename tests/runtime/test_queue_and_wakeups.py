"""The queue loses nothing and works on a key once at a time; only news wakes a resource."""

import asyncio
from typing import Any

import pytest
from kubernetes.aio import client
from support import resources

from wardrobe import handlers
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Key
from wardrobe.base.ready import readiness
from wardrobe.handlers import WATCHED
from wardrobe.health import Liveness
from wardrobe.kube.client import KubeClient
from wardrobe.metrics import Metrics
from wardrobe.wakeups import Wakeups, readiness_gist
from wardrobe.workqueue import WorkQueue

HEART, LUNG = Key("FineTuneJob", "ward", "heart"), Key("FineTuneJob", "ward", "lung")
BASE = Key("BaseModel", "ward", "base")
WARD = Key("AdapterDeployment", "ward", "tantanila")
FIRST, SECOND = Key("Adapter", "ward", "cardiology-v1"), Key("Adapter", "ward", "cardiology-v2")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_key_that_waits_is_not_added_twice() -> None:
    queue = WorkQueue(Clock())
    queue.add(HEART)
    queue.add(HEART)
    queue.add(LUNG)
    assert queue.depth() == 2
    assert await queue.get() == HEART
    assert await queue.get() == LUNG


async def test_a_key_added_while_worked_on_runs_once_more_and_never_beside_itself() -> None:
    queue = WorkQueue(Clock())
    queue.add(HEART)
    key = await queue.get()
    queue.add(HEART)
    queue.add(HEART)
    assert queue.depth() == 0
    queue.done(key)
    assert queue.depth() == 1
    assert await queue.get() == HEART
    queue.done(HEART)
    assert queue.idle()


async def test_the_earlier_of_two_times_counts() -> None:
    queue = WorkQueue(Clock())
    queue.add_after(HEART, 3600)
    queue.add_after(HEART, 0.0)
    queue.add_after(HEART, 3600)
    assert await asyncio.wait_for(queue.get(), 5) == HEART


async def test_age_is_that_of_the_oldest() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    queue.add(HEART)
    clock.seconds = 7
    queue.add(LUNG)
    clock.seconds = 10
    assert queue.oldest_seconds() == 10


async def test_what_answers_goes_before_what_trains_and_news_before_the_first_listing() -> None:
    queue = WorkQueue(Clock())
    for key, listed in ((HEART, True), (LUNG, False), (FIRST, True), (WARD, False)):
        queue.add(key, listed=listed)
    assert [await queue.get() for _ in range(3)] == [WARD, FIRST, LUNG]


async def test_a_listed_key_of_which_there_is_news_goes_forward_and_is_not_added_twice() -> None:
    queue = WorkQueue(Clock())
    queue.add(LUNG, listed=True)
    queue.add(HEART, listed=True)
    queue.add(HEART)
    queue.add(HEART, listed=True)
    assert queue.depth() == 2
    assert [await queue.get(), await queue.get()] == [HEART, LUNG]


async def test_a_rollback_waits_for_one_of_two_thousand_listed_runs_at_most() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    for number in range(2000):
        queue.add(Key("FineTuneJob", "ward", f"run-{number}"), listed=True)
    for taken in range(20):
        clock.seconds += 60
        queue.done(await queue.get())
        queue.add(WARD)
        found = [await queue.get(), await queue.get()]
        assert WARD in found, f"after {taken}"
        for key in found:
            queue.done(key)


async def test_nothing_starves_while_what_answers_never_ends() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    for key in (HEART, LUNG, BASE):
        queue.add(key, listed=True)
    worked = set()
    for _ in range(20):
        clock.seconds += 1
        for key in (WARD, FIRST, SECOND):
            queue.add(key)
        key = await queue.get()
        worked.add(key)
        queue.done(key)
    assert {HEART, LUNG, BASE} <= worked


async def test_a_long_cold_start_is_alive_while_work_goes_on_and_a_worker_that_hangs_is_not() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    for number in range(100):
        queue.add(Key("FineTuneJob", "ward", f"run-{number}"), listed=True)
    for _ in range(50):
        clock.seconds += 60
        queue.done(await queue.get())
        assert Liveness(queue, [], ()).dead() == [], f"{queue.oldest_seconds()} s old"
    hanging = await queue.get()
    for _ in range(6):
        clock.seconds += 60
        queue.done(await queue.get())
    assert Liveness(queue, [], ()).dead() == ["work is stuck"], "the others go on"
    queue.done(hanging)
    assert Liveness(queue, [], ()).dead() == []


async def test_an_idle_night_is_no_stall() -> None:
    clock = Clock()
    queue = WorkQueue(clock)
    clock.seconds = 40_000
    assert queue.stalled_seconds() == 0
    queue.add(HEART)
    assert queue.stalled_seconds() == 0


async def test_a_queue_that_nobody_empties_and_a_dead_worker_are_not_alive() -> None:
    clock = Clock()
    queue = WorkQueue(clock)

    async def dies() -> None:
        raise RuntimeError("a defect")

    worker = asyncio.create_task(dies(), name="worker 3")
    assert Liveness(queue, [], ()).dead() == []
    queue.add(HEART)
    clock.seconds = 301
    with pytest.raises(RuntimeError):
        await worker
    assert Liveness(queue, [worker], ()).dead() == ["worker 3", "work is stuck"]


async def test_watches_that_do_not_run_are_not_alive_once_they_had_time() -> None:
    queue = WorkQueue(Clock())
    long_ago = Liveness(queue, [], (), began=float("-inf"))
    assert long_ago.dead() == [f"{WATCHED} watches"]
    watches = [
        asyncio.create_task(asyncio.Event().wait(), name=f"watcher for kind {number}@None") for number in range(WATCHED)
    ]
    await asyncio.sleep(0)
    assert long_ago.dead() == []
    watches[0].cancel()
    await asyncio.gather(watches[0], return_exceptions=True)
    assert long_ago.dead() == ["1 watches"]
    for watch in watches:
        watch.cancel()


def resource(
    kind: Key, *, generation: int = 1, conditions: list[Any] | None = None, digest: str = ""
) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": conditions or []}
    if digest:
        status["digest"] = digest
    metadata = {"name": kind.name, "namespace": kind.namespace, "uid": kind.name, "generation": generation}
    base = {"name": BASE.name, "digest": "sha256:1"}
    return {"metadata": metadata, "spec": {"baseModel": base}, "status": status}


READY = [{"type": "Ready", "status": "True"}]


async def woken(queue: WorkQueue) -> set[Key]:
    """All keys that wait, taken out and done with."""
    found = {await queue.get() for _ in range(queue.depth())}
    for key in found:
        queue.done(key)
    return found


@pytest.fixture
def queue() -> WorkQueue:
    return WorkQueue(Clock())


async def test_our_own_status_writes_wake_nobody(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    wakeups.resource_event("FineTuneJob", None, resource(HEART))
    assert await woken(queue) == {HEART}
    wakeups.resource_event("FineTuneJob", "MODIFIED", resource(HEART, conditions=READY))
    assert await woken(queue) == set()
    wakeups.resource_event("FineTuneJob", "MODIFIED", resource(HEART))
    assert await woken(queue) == {HEART}, "somebody wiped the status"
    wakeups.resource_event("FineTuneJob", "MODIFIED", resource(HEART, generation=2))
    assert await woken(queue) == {HEART}


async def test_trouble_with_checkpoints_wakes_the_run_whose_condition_says_it_and_numbers_do_not(
    queue: WorkQueue,
) -> None:
    wakeups = Wakeups(queue)
    wakeups.resource_event("FineTuneJob", None, resource(HEART, conditions=READY))
    await woken(queue)
    full = "No space left on device"
    for progress, news in (
        ({"stage": "Training", "step": 3, "saved": 0}, False),
        ({"stage": "Training", "step": 9, "saved": 8}, True),
        ({"stage": "Training", "step": 17, "saved": 16}, False),
        ({"stage": "Training", "step": 25, "saved": 16, "problem": full}, True),
        ({"stage": "Training", "step": 33, "saved": 16, "problem": full}, False),
        ({"stage": "Saving", "step": 33, "saved": 16, "problem": full}, True),
        ({"stage": "Saving", "step": 33, "saved": 16}, True),
        ({"summary": "done"}, False),
    ):
        told = resource(HEART, conditions=READY)
        told["status"]["progress"] = progress
        wakeups.resource_event("FineTuneJob", "MODIFIED", told)
        assert await woken(queue) == ({HEART} if news else set()), progress


async def test_what_a_tracking_server_comes_to_wakes_the_run_and_how_it_is_worded_does_not(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    wakeups.resource_event("FineTuneJob", None, resource(HEART, conditions=READY))
    await woken(queue)
    for tracking, news in (
        (None, False),
        ({"reason": "TrackingUnreachable", "message": "timed out"}, True),
        ({"reason": "TrackingUnreachable", "message": "Connection refused"}, False),
        ({"runId": "r1"}, True),
        ({"runId": "r1", "reason": "TrackingGone"}, True),
        ({"runId": "r1"}, True),
    ):
        told = resource(HEART, conditions=READY)
        told["status"]["progress"] = {"stage": "Training", "tracking": tracking}
        wakeups.resource_event("FineTuneJob", "MODIFIED", told)
        assert await woken(queue) == ({HEART} if news else set()), tracking


async def test_who_waits_for_a_base_is_woken_when_it_is_ready_changed_or_gone(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    wakeups.resource_event("BaseModel", None, resource(BASE))
    await woken(queue)
    wakeups.waits_on(HEART, {BASE: readiness_gist(resource(BASE))})
    ready = resource(BASE, conditions=READY, digest="sha256:1")
    wakeups.resource_event("BaseModel", "MODIFIED", ready)
    assert await woken(queue) == {HEART}
    wakeups.waits_on(HEART, {BASE: readiness_gist(ready)})
    wakeups.resource_event("BaseModel", "MODIFIED", ready)
    assert await woken(queue) == set()
    again = resource(BASE, conditions=READY, digest="sha256:1")
    again["status"]["fingerprint"] = "sampled:sha256:2"
    wakeups.resource_event("BaseModel", "MODIFIED", again)
    assert await woken(queue) == {HEART}, "its engine pods are changed now"
    wakeups.waits_on(HEART, {BASE: readiness_gist(again)})
    wakeups.resource_event("BaseModel", "DELETED", again)
    assert HEART in await woken(queue)
    wakeups.waits_on(HEART, {})
    wakeups.resource_event("BaseModel", "ADDED", resource(BASE))
    assert HEART not in await woken(queue)


async def test_who_read_what_no_event_shows_is_woken_by_the_next(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    ready = resource(BASE, conditions=READY, digest="sha256:1")
    wakeups.resource_event("BaseModel", None, ready)
    wakeups.waits_on(HEART, {BASE: readiness_gist(resource(BASE))})
    await woken(queue)
    wakeups.resource_event("BaseModel", "MODIFIED", ready)
    assert await woken(queue) == {HEART}, "its status was wiped, and written again"


@pytest.mark.parametrize("left", [[], ["conditions"], ["conditions", "digest", "fingerprint"]], ids=str)
def test_readiness_is_the_same_of_an_event_and_of_what_is_decided_by(left: list[str]) -> None:
    inspected = resources.ready_base()
    manifest = resources.stored(
        resources.base_model(), "ward", **{name: inspected[name] for name in inspected.keys() - left}
    )
    assert readiness(BaseModelResource.parse(manifest)) == readiness_gist(manifest)


def pointing(adapter: Key, routed: Key | None, *, generation: int = 1) -> dict[str, Any]:
    """A deployment's manifest: what its spec names, and what its status says is routed."""
    found = resource(WARD, generation=generation, conditions=READY)
    found["spec"] = {"departments": {"cardiology": {"adapter": adapter.name}}}
    found["status"]["departments"] = {"cardiology": {"adapter": routed.name} if routed else {"wanted": adapter.name}}
    return found


async def test_a_deployment_wakes_the_adapters_that_it_ceases_to_use(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    wakeups.resource_event(WARD.kind, None, pointing(FIRST, None))
    assert await woken(queue) == {WARD}, "which marks the Adapter itself"
    wakeups.resource_event(WARD.kind, "MODIFIED", pointing(FIRST, FIRST))
    assert await woken(queue) == set()
    wakeups.resource_event(WARD.kind, "MODIFIED", pointing(SECOND, FIRST, generation=2))
    assert await woken(queue) == {WARD}, "FIRST is still routed"
    wakeups.resource_event(WARD.kind, "MODIFIED", pointing(SECOND, SECOND, generation=2))
    assert await woken(queue) == {FIRST}
    wakeups.resource_event(WARD.kind, "DELETED", pointing(SECOND, SECOND, generation=2))
    assert await woken(queue) == {WARD, SECOND}


async def test_an_adapter_that_no_longer_names_its_user_wakes_it_and_one_that_does_not(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    marked = resource(FIRST, conditions=READY)
    marked["status"]["usedBy"] = ["tantanila"]
    wakeups.resource_event("Adapter", None, marked)
    wakeups.resource_event(WARD.kind, None, pointing(FIRST, None))
    await woken(queue)
    wakeups.resource_event("Adapter", "MODIFIED", marked)
    assert await woken(queue) == set()
    wakeups.resource_event("Adapter", "MODIFIED", resource(FIRST, conditions=READY))
    assert await woken(queue) == {WARD}


def child(kind: str, task: str, status: dict[str, Any]) -> dict[str, Any]:
    labels = {"wardrobe.dev/owner-kind": "FineTuneJob", "wardrobe.dev/owner": "heart", "wardrobe.dev/task": task}
    metadata: dict[str, Any] = {"uid": kind, "namespace": "ward", "labels": labels}
    if kind == "Pod":
        metadata["ownerReferences"] = [{"kind": "Job", "uid": "Job", "controller": True}]
    ports = [{"name": "progress", "containerPort": 8081}] if task == "train" else []
    spec = {"backoffLimit": 0} if kind == "Job" else {"containers": [{"name": "trainer", "ports": ports}]}
    return {"metadata": metadata, "spec": spec, "status": status}


COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}
TERMINATED = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {}}}]}
STUCK = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}
UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1 nodes"}],
}


async def test_a_pod_that_is_scheduled_after_all_wakes_its_owner(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    wakeups.child_event("ADDED", child("Pod", "check", UNSCHEDULABLE))
    assert await woken(queue) == {HEART}
    wakeups.child_event("MODIFIED", child("Pod", "check", {"phase": "Running"}))
    assert await woken(queue) == {HEART}
    wakeups.child_event("MODIFIED", child("Pod", "check", {"phase": "Running", "conditions": []}))
    assert await woken(queue) == set()


async def test_a_job_that_a_queue_holds_and_lets_in_wakes_its_owner(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    held = child("Job", "check", {})
    held["spec"]["suspend"] = True
    wakeups.child_event("ADDED", held)
    assert await woken(queue) == {HEART}
    wakeups.child_event("MODIFIED", child("Job", "check", {"active": 1}))
    assert await woken(queue) == {HEART}
    wakeups.child_event("MODIFIED", child("Job", "check", {"active": 1, "ready": 1}))
    assert await woken(queue) == set()


async def test_a_pod_that_is_told_to_stop_wakes_its_owner_who_knows_when_to_give_it_up(queue: WorkQueue) -> None:
    going = child("Pod", "check", {"phase": "Running"})
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z"
    Wakeups(queue).child_event("MODIFIED", going)
    assert await woken(queue) == {HEART}


async def test_children_are_watched_by_labels_that_nobody_else_may_set(queue: WorkQueue) -> None:
    """Anybody may write app.kubernetes.io/managed-by."""
    async with client.ApiClient() as connection:
        watches = handlers.watches(KubeClient(connection, Metrics()), Wakeups(queue), ())
    assert {watch.selector.partition("/")[0] for watch in watches} == {"wardrobe.dev"}


@pytest.mark.parametrize("labels", [{}, {"wardrobe.dev/owner-kind": "Secret", "wardrobe.dev/owner": "heart"}])
async def test_what_only_looks_like_a_child_wakes_nobody(queue: WorkQueue, labels: dict[str, str]) -> None:
    by_hand = child("Job", "check", COMPLETE)
    by_hand["metadata"]["labels"] = labels
    Wakeups(queue).child_event("ADDED", by_hand)
    assert queue.depth() == 0


async def test_the_pod_that_verifies_an_adapter_wakes_it(queue: WorkQueue) -> None:
    pod = child("Pod", "verify", TERMINATED)
    pod["metadata"]["labels"] |= {"wardrobe.dev/owner-kind": "Adapter", "wardrobe.dev/owner": "cardiology-v3"}
    Wakeups(queue).child_event("MODIFIED", pod)
    assert await queue.get() == Key("Adapter", "ward", "cardiology-v3")


@pytest.mark.parametrize(
    ("manifest", "wakes"),
    [
        (child("Job", "check", {"active": 1}), False),
        (child("Job", "check", COMPLETE), True),
        (child("Pod", "check", {"phase": "Pending"}), False),
        (child("Pod", "check", {"phase": "Running"}), False),
        (child("Pod", "train", {"phase": "Running", "podIP": "10.0.0.7"}), True),
        (child("Pod", "check", STUCK), True),
        (child("Pod", "check", UNSCHEDULABLE), True),
        (child("Pod", "check", TERMINATED), True),
    ],
)
async def test_a_child_wakes_its_owner_only_with_news(queue: WorkQueue, manifest: dict[str, Any], wakes: bool) -> None:
    wakeups = Wakeups(queue)
    wakeups.child_event("MODIFIED", manifest)
    wakeups.child_event("MODIFIED", manifest)
    assert queue.depth() == int(wakes)


async def test_a_jobs_end_is_no_news_after_its_pods_unless_the_pod_is_gone(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    wakeups.child_event("MODIFIED", child("Pod", "check", TERMINATED))
    assert await woken(queue) == {HEART}
    wakeups.child_event("MODIFIED", child("Job", "check", {"ready": 0}))
    wakeups.child_event("MODIFIED", child("Job", "check", COMPLETE))
    assert await woken(queue) == set()
    wakeups.child_event("DELETED", child("Pod", "check", TERMINATED))
    await woken(queue)
    wakeups.child_event("MODIFIED", child("Job", "check", COMPLETE))
    assert await woken(queue) == {HEART}


def made(kind: str, spec: dict[str, Any], **status: Any) -> dict[str, Any]:
    labels = {"wardrobe.dev/owner-kind": "AdapterDeployment", "wardrobe.dev/owner": WARD.name}
    metadata = {"uid": kind, "namespace": "ward", "name": f"{WARD.name}-engine", "labels": labels}
    return {"metadata": metadata, "spec": spec, "status": status}


async def test_what_somebody_changes_or_deletes_of_a_deployment_wakes_it_and_its_counts_do_not(
    queue: WorkQueue,
) -> None:
    wakeups = Wakeups(queue)
    for kind, spec in (("Deployment", {"replicas": 2}), ("Service", {"ports": []})):
        wakeups.serving_event(None, made(kind, spec))
        assert await woken(queue) == {WARD}
        wakeups.serving_event("MODIFIED", made(kind, spec, readyReplicas=1))
        assert await woken(queue) == set()
        wakeups.serving_event("MODIFIED", made(kind, {**spec, "replicas": 7}))
        assert await woken(queue) == {WARD}
        wakeups.serving_event("DELETED", made(kind, {**spec, "replicas": 7}))
        assert await woken(queue) == {WARD}


async def test_the_end_of_a_roll_wakes_it_which_comes_after_its_last_pod(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    counts = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}
    wakeups.serving_event(None, made("Deployment", {"replicas": 2}, **counts | {"updatedReplicas": 1}))
    await woken(queue)
    wakeups.serving_event("MODIFIED", made("Deployment", {"replicas": 2}, **counts))
    assert await woken(queue) == set()
    wakeups.serving_event("MODIFIED", made("Deployment", {"replicas": 2}, **counts | {"availableReplicas": 2}))
    assert await woken(queue) == {WARD}


async def test_a_deployment_whose_pods_are_refused_is_woken(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    wakeups.serving_event(None, made("Deployment", {"replicas": 2}))
    await woken(queue)
    refused = [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}]
    wakeups.serving_event("MODIFIED", made("Deployment", {"replicas": 2}, conditions=refused))
    assert await woken(queue) == {WARD}


def ended(status: str, generation: int = 1) -> dict[str, Any]:
    found = resource(HEART, conditions=[{"type": "Succeeded", "status": status}])
    found["status"]["observedGeneration"] = generation
    return found


@pytest.mark.parametrize(
    ("run", "wakes"),
    [(ended("True"), False), (ended("False"), False), (ended("Unknown"), True), (ended("True", generation=0), True)],
)
async def test_a_run_that_has_ended_costs_a_new_operator_nothing(
    queue: WorkQueue, run: dict[str, Any], wakes: bool
) -> None:
    Wakeups(queue).resource_event("FineTuneJob", None, run)
    assert (await woken(queue) == {HEART}) is wakes
    Wakeups(queue, frozenset({HEART.name})).resource_event("FineTuneJob", None, run)
    assert await woken(queue) == {HEART}, "its claim on a number stands"


async def test_a_run_that_has_ended_and_is_to_be_deleted_is_looked_at_by_a_new_operator(queue: WorkQueue) -> None:
    """Which then knows when its time comes."""
    run = ended("True")
    run["spec"]["ttlSecondsAfterFinished"] = 600
    Wakeups(queue).resource_event("FineTuneJob", None, run)
    assert await woken(queue) == {HEART}


async def test_a_pod_that_names_an_owner_of_another_kind_wakes_nobody(queue: WorkQueue) -> None:
    forged = child("Pod", "check", TERMINATED)
    forged["metadata"]["labels"]["wardrobe.dev/owner-kind"] = "Secret"
    Wakeups(queue).child_event("ADDED", forged)
    assert queue.depth() == 0


async def test_a_listed_pod_wakes_a_run_that_goes_on_and_none_that_has_ended(queue: WorkQueue) -> None:
    """Whichever is listed first: a run that comes later is looked at then, with all its pods."""
    wakeups = Wakeups(queue)
    wakeups.child_event(None, child("Pod", "check", TERMINATED))
    assert await woken(queue) == set()
    wakeups.resource_event("FineTuneJob", None, ended("Unknown"))
    assert await woken(queue) == {HEART}
    other = child("Pod", "train", TERMINATED)
    other["metadata"]["uid"] = "other"
    wakeups.child_event(None, other)
    assert await woken(queue) == {HEART}, "it may have ended after it was looked at"
    wakeups.resource_event("FineTuneJob", "MODIFIED", ended("True"))
    other["metadata"]["uid"] = "third"
    wakeups.child_event(None, other)
    assert await woken(queue) == set()
    wakeups.child_event("DELETED", other)
    assert await woken(queue) == {HEART}, "that is news"


def based(digest: str = "sha256:1", *, ready: bool = True, used_by: str = "") -> dict[str, Any]:
    found = resource(FIRST, conditions=READY if ready else [{"type": "Ready", "status": "Unknown"}])
    found["spec"] = {"baseModel": {"name": BASE.name, "digest": digest}}
    found["status"] |= {"observedGeneration": 1, "usedBy": [used_by] if used_by else []}
    return found


def inspected() -> dict[str, Any]:
    found = resource(BASE, conditions=READY, digest="sha256:1")
    found["status"]["observedGeneration"] = 1
    return found


async def test_an_adapter_that_fits_its_base_costs_a_new_operator_nothing_until_the_base_changes(
    queue: WorkQueue,
) -> None:
    wakeups = Wakeups(queue)
    wakeups.resource_event("BaseModel", None, inspected())
    await woken(queue)
    wakeups.resource_event("Adapter", None, based())
    assert await woken(queue) == set()
    wakeups.resource_event("BaseModel", "DELETED", inspected())
    assert await woken(queue) == {BASE, FIRST}


@pytest.mark.parametrize(
    "adapter",
    [based("sha256:2"), based(ready=False), based(used_by=WARD.name), based() | {"status": {}}],
    ids=["another base", "not ready", "in use", "wiped"],
)
async def test_any_other_adapter_is_looked_at_by_a_new_operator(queue: WorkQueue, adapter: dict[str, Any]) -> None:
    wakeups = Wakeups(queue)
    wakeups.resource_event("BaseModel", None, inspected())
    await woken(queue)
    wakeups.resource_event("Adapter", None, adapter)
    assert await woken(queue) == {FIRST}


async def test_an_adapter_that_is_listed_before_its_base_is_looked_at(queue: WorkQueue) -> None:
    Wakeups(queue).resource_event("Adapter", None, based())
    assert await woken(queue) == {FIRST}


@pytest.mark.parametrize(
    ("key", "spec"),
    [
        (FIRST, {}),
        (FIRST, {"baseModel": "base"}),
        (WARD, {}),
        (WARD, {"departments": {"cardiology": "heart"}}),
        (BASE, {}),
    ],
)
async def test_what_this_release_cannot_read_is_looked_at_and_says_so(
    queue: WorkQueue, key: Key, spec: dict[str, Any]
) -> None:
    wakeups = Wakeups(queue)
    strange = resource(key, conditions=READY)
    strange["spec"] = spec
    strange["status"]["observedGeneration"] = 1
    wakeups.resource_event(key.kind, None, strange)
    assert await woken(queue) == {key}
