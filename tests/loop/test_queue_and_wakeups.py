"""The queue loses nothing and works on a key once at a time; only news wakes a resource."""

import asyncio
from typing import Any

import pytest

from wardrobe.api.meta import Key
from wardrobe.handlers import WATCHED
from wardrobe.health import Liveness
from wardrobe.wakeups import Wakeups
from wardrobe.workqueue import WorkQueue

HEART, LUNG = Key("FineTuneJob", "ward", "heart"), Key("FineTuneJob", "ward", "lung")
BASE = Key("BaseModel", "ward", "base")


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
    assert Liveness(queue, [worker], ()).dead() == ["worker 3", "queue is stuck"]


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
    return {"metadata": metadata, "status": status}


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


async def test_who_waits_for_a_base_is_woken_when_it_is_ready_changed_or_gone(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    wakeups.resource_event("BaseModel", None, resource(BASE))
    await woken(queue)
    wakeups.waits_on(HEART, frozenset({BASE}))
    wakeups.resource_event("BaseModel", "MODIFIED", resource(BASE, conditions=READY, digest="sha256:1"))
    assert await woken(queue) == {HEART}
    wakeups.resource_event("BaseModel", "MODIFIED", resource(BASE, conditions=READY, digest="sha256:1"))
    assert await woken(queue) == set()
    wakeups.resource_event("BaseModel", "DELETED", resource(BASE, conditions=READY, digest="sha256:1"))
    assert HEART in await woken(queue)
    wakeups.waits_on(HEART, frozenset())
    wakeups.resource_event("BaseModel", "ADDED", resource(BASE))
    assert HEART not in await woken(queue)


WARD = Key("AdapterDeployment", "ward", "tantanila")
FIRST, SECOND = Key("Adapter", "ward", "cardiology-v1"), Key("Adapter", "ward", "cardiology-v2")


def pointing(adapter: Key, routed: Key | None, *, generation: int = 1) -> dict[str, Any]:
    """A deployment's manifest: what its spec names, and what its status says is routed."""
    found = resource(WARD, generation=generation, conditions=READY)
    found["spec"] = {"departments": {"cardiology": {"adapter": adapter.name}}}
    found["status"]["departments"] = {"cardiology": {"adapter": routed.name} if routed else {"wanted": adapter.name}}
    return found


async def test_a_deployment_wakes_the_adapters_that_it_begins_or_ceases_to_use(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    wakeups.resource_event(WARD.kind, None, pointing(FIRST, None))
    assert await woken(queue) == {FIRST}
    assert await asyncio.wait_for(queue.get(), 5) == WARD, "in a moment, should the Adapter have nothing to say"
    queue.done(WARD)
    wakeups.resource_event(WARD.kind, "MODIFIED", pointing(FIRST, FIRST))
    assert await woken(queue) == set()
    wakeups.resource_event(WARD.kind, "MODIFIED", pointing(SECOND, FIRST, generation=2))
    assert await woken(queue) == {SECOND}, "FIRST is still routed"
    assert await asyncio.wait_for(queue.get(), 5) == WARD
    queue.done(WARD)
    wakeups.resource_event(WARD.kind, "MODIFIED", pointing(SECOND, SECOND, generation=2))
    assert await woken(queue) == {FIRST}
    wakeups.resource_event(WARD.kind, "DELETED", pointing(SECOND, SECOND, generation=2))
    assert await woken(queue) == {WARD, SECOND}


async def test_an_adapter_that_is_marked_in_use_wakes_who_names_it_before_anything_was_decided(
    queue: WorkQueue,
) -> None:
    wakeups = Wakeups(queue)
    wakeups.resource_event("Adapter", None, resource(FIRST, conditions=READY))
    wakeups.resource_event(WARD.kind, None, pointing(FIRST, None))
    assert WARD not in await woken(queue)
    marked = resource(FIRST, conditions=READY)
    marked["status"]["usedBy"] = ["tantanila"]
    wakeups.resource_event("Adapter", "MODIFIED", marked)
    assert await woken(queue) == {WARD}


def child(kind: str, task: str, status: dict[str, Any], **annotations: str) -> dict[str, Any]:
    labels = {"wardrobe.dev/owner-kind": "FineTuneJob", "wardrobe.dev/owner": "heart", "wardrobe.dev/task": task}
    metadata = {"uid": kind, "namespace": "ward", "labels": labels, "annotations": annotations}
    return {"metadata": metadata, "spec": {"backoffLimit": 0} if kind == "Job" else {}, "status": status}


COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}
TERMINATED = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {}}}]}
STUCK = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}
UNSCHEDULABLE = {"phase": "Pending", "conditions": [{"reason": "Unschedulable", "message": "0/1 nodes"}]}


async def test_a_pod_that_is_scheduled_after_all_wakes_its_owner(queue: WorkQueue) -> None:
    wakeups = Wakeups(queue)
    wakeups.child_event("ADDED", child("Pod", "check", UNSCHEDULABLE))
    assert await woken(queue) == {HEART}
    wakeups.child_event("MODIFIED", child("Pod", "check", {"phase": "Running"}))
    assert await woken(queue) == {HEART}
    wakeups.child_event("MODIFIED", child("Pod", "check", {"phase": "Running", "conditions": []}))
    assert await woken(queue) == set()


@pytest.mark.parametrize(
    ("manifest", "wakes"),
    [
        (child("Job", "check", {"active": 1}), False),
        (child("Job", "check", COMPLETE), True),
        (child("Job", "check", COMPLETE, **{"wardrobe.dev/result": "{}"}), False),
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
