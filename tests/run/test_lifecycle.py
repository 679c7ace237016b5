"""What a person says of a run's time: suspended and resumed, a deadline, and how long it is kept."""

import asyncio
import datetime
from typing import Any

import pytest
from support import resources, results
from support.fake_cluster import KilledError
from support.run_story import KEYS, NAMESPACE, PREEMPTED, RUNS, Story, new_story

from wardrobe.api.meta import Key, Manifest
from wardrobe.kube.client import RefusedError
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS
from wardrobe.plan.plan import RESYNC_SECONDS
from wardrobe.stage.record import STOPPED_LIMIT, entry, read_record
from wardrobe.stage.stage import Retries
from wardrobe_contracts.base import Task
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result
from wardrobe_contracts.training import Reached

RUN = KEYS[1]
ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes that Kubernetes allows to all annotations of an object."""


def saved(steps: int, resumed: int = 0) -> Result:
    """What a pod says that was told to stop."""
    told = Result.failure("train", ExitCode.PREEMPTED, Reason.TERMINATED, f"stopped at step {steps}, which is saved")
    return told.having(Reached(step=steps, resumed=resumed, saved=steps))


def later(seconds: float) -> str:
    at = datetime.datetime.fromisoformat(resources.TIME) + datetime.timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def a_run(**spec: Any) -> Story:
    """One run alone, on a base that was inspected."""
    story = new_story()
    story.cluster.delete(KEYS[2])
    story.cluster.put({**story.cluster.objects[KEYS[0]], "status": resources.ready_base()})
    if spec:
        story.spec(RUN, **spec)
    return story


def at(task: Task, **spec: Any) -> Story:
    """A run whose pod of this task runs."""
    story = a_run(**spec)
    for _ in range(10):
        story.reconcile(RUN)
        story.cluster.start_pods()
        if any(f"-{task}-" in pod.name for pod in story.cluster.pods()):
            story.reconcile(RUN)
            return story
        story.end_a_pod(0)
    raise AssertionError(f"it never comes to {task}")


def status(story: Story) -> Manifest:
    found: Manifest = story.cluster.objects[RUN]["status"]
    return found


def top(story: Story) -> tuple[str, str, str]:
    found = next(c for c in status(story)["conditions"] if c["type"] == "Succeeded")
    return found["status"], found["reason"], found["message"]


def jobs(story: Story, task: Task = "train") -> list[str]:
    """Those that are there, by their numbers; of one that is being deleted it is said."""
    found = [(key.name, job) for key, job in sorted(story.cluster.objects.items()) if key.kind == "Job"]
    return [
        name.rpartition("-")[2] + (" going" if "deletionTimestamp" in job["metadata"] else "")
        for name, job in found
        if f"-{task}-" in name
    ]


def marks(story: Story) -> dict[str, str]:
    """As the operator reads its record."""
    return {entry(*attempt): mark for attempt, mark in read_record(record(story)).marks.items()}


def record(story: Story) -> Manifest:
    name = f"{RUN.name}-{story.cluster.objects[RUN]['metadata']['uid'][:8]}-attempts"
    return story.cluster.objects[Key("ConfigMap", NAMESPACE, name)]


def settle(story: Story) -> None:
    """The pods that run end well, and so on."""
    for _ in range(20):
        before = story.cluster.contents()
        story.reconcile(RUN)
        story.cluster.start_pods()
        story.end_a_pod(0)
        story.cluster.collect_pods()
        if story.cluster.contents() == before:
            return
    raise AssertionError("it never settles")


def suspend(story: Story, result: Result | None = None) -> None:
    """And the pod that is told to stop does, and says so."""
    story.spec(RUN, suspend=True)
    story.reconcile(RUN)
    story.end_a_pod(0, result)
    story.reconcile(RUN)
    story.cluster.collect_pods()
    story.reconcile(RUN)


def lose(story: Story) -> None:
    """The node drains, before anything was saved."""
    story.end_a_pod(0, PREEMPTED)
    for key, job in story.cluster.objects.items():
        for condition in job.get("status", {}).get("conditions", []) if key.kind == "Job" else []:
            condition["lastTransitionTime"] = story.cluster.now


def resume(story: Story) -> None:
    story.spec(RUN, suspend=False)
    story.reconcile(RUN)
    story.cluster.start_pods()
    story.reconcile(RUN)


def test_a_run_that_is_made_suspended_waits_so_and_costs_nothing() -> None:
    story = a_run(suspend=True)
    assert story.reconcile(RUN).requeue_after is None
    assert story.cluster.names("Job") == []
    assert top(story) == (
        "Unknown",
        "Suspended",
        "checking the dataset: spec.suspend is true: no Job runs. To go on, set spec.suspend to false",
    )
    assert status(story)["progress"] == {"summary": "suspended: checking the dataset"}
    story.spec(RUN, suspend=False)
    settle(story)
    assert top(story)[:2] == ("True", "Succeeded")


def test_one_that_lacks_a_claim_waits_so_too() -> None:
    story = a_run(suspend=True)
    story.cluster.delete(Key("PersistentVolumeClaim", NAMESPACE, "datasets"))
    assert story.reconcile(RUN).requeue_after is None
    assert top(story)[1] == "Suspended"
    story.spec(RUN, suspend=False)
    assert story.reconcile(RUN).requeue_after == LOOK_AGAIN_SECONDS
    assert top(story)[1] == "ClaimNotFound"


def test_a_run_that_is_suspended_saves_and_goes_on_from_there_at_once() -> None:
    story = at("train")
    story.spec(RUN, suspend=True)
    assert story.reconcile(RUN).requeue_after == RESYNC_SECONDS
    assert jobs(story) == ["1 going"]
    assert marks(story)["train.1"] == "Suspended"
    assert "may still save" in top(story)[2]

    story.end_a_pod(0, saved(40))
    assert story.reconcile(RUN).requeue_after is None
    assert marks(story)["train.1"] == "Suspended"
    assert '"saved":40' in record(story)["metadata"]["annotations"]["wardrobe.dev/result.train.1"]
    assert top(story) == (
        "Unknown",
        "Suspended",
        "training: spec.suspend is true: no Job runs; 40 steps of training are saved. To go on, set spec.suspend to "
        "false",
    )
    assert status(story)["progress"] == {"summary": "suspended: training"}
    story.cluster.collect_pods()
    story.reconcile(RUN)
    assert jobs(story) == []
    writes = story.cluster.writes
    story.reconcile(RUN)
    assert story.cluster.writes == writes

    story.spec(RUN, suspend=False)
    story.reconcile(RUN)
    assert jobs(story) == ["2"]
    assert top(story)[:2] == ("Unknown", "Training")
    story.reconcile(RUN)
    suspended = {"number": 1, "result": "PREEMPTED", "reason": "Suspended", "steps": 40, "resumed": 0, "lost": 0}
    assert status(story)["attempts"] == [suspended, {"number": 2, "result": "Running"}]
    settle(story)
    assert top(story)[:2] == ("True", "Succeeded")


def test_it_goes_on_when_what_was_told_to_stop_has() -> None:
    story = at("train")
    story.spec(RUN, suspend=True)
    story.reconcile(RUN)
    story.spec(RUN, suspend=False)
    assert story.reconcile(RUN).requeue_after == 120.0, "when its node has not answered for so long"
    assert (jobs(story), top(story)[1]) == (["1 going"], "Retrying")
    story.end_a_pod(0, saved(40))
    story.reconcile(RUN)
    assert jobs(story) == ["1 going", "2"]


def test_a_pod_whose_node_is_gone_holds_it_up_no_longer_than_any_other() -> None:
    story = at("train")
    story.spec(RUN, suspend=True)
    story.reconcile(RUN)
    story.cluster.now = later(121)
    story.reconcile(RUN)
    assert "no Job runs" in top(story)[2]
    story.spec(RUN, suspend=False)
    story.reconcile(RUN)
    assert jobs(story) == ["1 going", "2"]


def test_a_hundred_suspensions_use_up_no_restart_and_no_room() -> None:
    story = at("train")
    for times in range(100):
        suspend(story, saved(10 + times, resumed=9 + times))
        assert top(story)[1] == "Suspended"
        resume(story)
        assert jobs(story) == [str(times + 2)], "at once"
    kept = record(story)["metadata"]["annotations"]
    assert sum(name.startswith("wardrobe.dev/result.train.") for name in kept) == STOPPED_LIMIT
    largest = Result.failure("train", ExitCode.PREEMPTED, Reason.TERMINATED, "x" * 9000).termination_message(1500)
    results_of_losses = 3 * (30 + 1) + STOPPED_LIMIT
    assert results_of_losses * (len(largest) + 40) + 13 * 3100 < ANNOTATIONS_LIMIT
    for lost in range(Retries().most + 1):
        assert top(story)[1] in {"Training", "Retrying"}, lost
        story.end_a_pod(0, saved(200 + lost, resumed=199 + lost))
        for _ in range(2):
            story.reconcile(RUN)
            story.cluster.start_pods()
    assert top(story)[:2] == ("False", "RetriesExhausted")
    assert "11 attempts were lost" in top(story)[2]


def test_a_suspension_makes_no_later_pause_longer() -> None:
    story = at("train")
    for _ in range(3):
        suspend(story, PREEMPTED)  # nothing saved yet
        resume(story)
    lose(story)
    assert story.reconcile(RUN).requeue_after == Retries().pause(1)


@pytest.mark.parametrize("gone", ["pod", "Job and pod"])
def test_an_attempt_whose_last_words_are_lost_counts_as_suspended_all_the_same(gone: str) -> None:
    story = at("train")
    story.spec(RUN, suspend=True)
    story.reconcile(RUN)
    for pod in story.cluster.pods():
        story.cluster.vanish(pod)
    if gone != "pod":
        story.cluster.collect_pods()
    story.reconcile(RUN)
    story.cluster.collect_pods()
    story.reconcile(RUN)
    assert "no Job runs. To go on" in top(story)[2]
    resume(story)
    assert jobs(story) == ["2"]
    assert status(story)["attempts"][0] == {"number": 1, "result": "PREEMPTED", "reason": "Suspended"}


def test_work_that_is_done_as_it_is_told_to_stop_is_done() -> None:
    story = at("train")
    suspend(story, results.success("train"))
    assert marks(story)["train.1"] == "SUCCEEDED"
    assert top(story) == (
        "Unknown",
        "Suspended",
        "assessing: spec.suspend is true: no Job runs. To go on, set spec.suspend to false",
    )
    resume(story)
    assert (jobs(story, "train"), jobs(story, "assess")) == ([], ["1"])


def test_work_that_fails_as_it_is_told_to_stop_has_failed() -> None:
    story = at("train")
    suspend(story, results.failure("train", ExitCode.DIVERGED, Reason.DIVERGED))
    assert top(story)[:2] == ("False", "Diverged")


def test_a_job_that_a_queue_holds_is_deleted_and_another_asks_the_queue() -> None:
    story = a_run()
    story.reconcile(RUN)
    (job,) = (key for key in story.cluster.objects if key.kind == "Job")
    story.cluster.suspend(job)
    story.reconcile(RUN)
    assert (top(story)[1], "startTime" in status(story)) == ("Queued", False)
    story.spec(RUN, suspend=True)
    story.reconcile(RUN)
    story.reconcile(RUN)
    assert (jobs(story, "check"), top(story)[1]) == ([], "Suspended")
    story.spec(RUN, suspend=False)
    story.reconcile(RUN)
    assert jobs(story, "check") == ["2"]


def test_a_run_that_is_suspended_between_two_attempts_makes_none() -> None:
    story = at("train")
    lose(story)
    assert story.reconcile(RUN).requeue_after == Retries().pause(1)
    story.spec(RUN, suspend=True)
    story.cluster.now = later(3600)
    assert story.reconcile(RUN).requeue_after is None
    assert (jobs(story), top(story)[1]) == (["1"], "Suspended")
    story.spec(RUN, suspend=False)
    story.reconcile(RUN)
    assert jobs(story) == ["1", "2"]


def test_nothing_is_stopped_where_that_cannot_be_written_down() -> None:
    story = at("train")
    data = record(story)["data"]
    record(story)["data"] = {"train.1": "Whatever"}
    story.spec(RUN, suspend=True)
    story.reconcile(RUN)
    assert (jobs(story), top(story)[:2]) == (["1"], ("Unknown", "RecordUnreadable"))
    record(story)["data"] = data
    story.reconcile(RUN)
    assert (jobs(story), top(story)[1]) == (["1 going"], "Suspended")


def test_killed_after_each_write_of_a_suspension() -> None:
    for write in range(1, 9):
        story = at("train")
        story.cluster.writes_left = write
        try:
            suspend(story, saved(40))
        except KilledError:
            story.cluster.writes_left = None
            story.reconcile(RUN)
            story.end_a_pod(0, saved(40))
            story.reconcile(RUN)
            story.cluster.collect_pods()
            story.reconcile(RUN)
        story.cluster.writes_left = None
        assert "40 steps of training are saved" in top(story)[2]
        assert marks(story)["train.1"] == "Suspended"


def test_a_suspension_that_was_taken_back_before_it_happened_is_no_end() -> None:
    """The operator died once it was written down, and before the Job was deleted."""
    story = at("train")
    story.end_a_pod(0, saved(5))
    story.reconcile(RUN)
    story.cluster.start_pods()
    story.reconcile(RUN)
    story.spec(RUN, suspend=True)
    story.cluster.writes_left = 1
    with pytest.raises(KilledError):
        story.reconcile(RUN)
    story.cluster.writes_left = None
    assert marks(story)["train.2"] == "Suspended"
    story.spec(RUN, suspend=False)
    story.reconcile(RUN)
    assert (jobs(story), marks(story)["train.2"]) == (["1", "2"], "Begun")


@pytest.mark.parametrize("what", ["suspended", "deadline over"])
def test_a_wiped_status_comes_back(what: str) -> None:
    story = at("train", activeDeadlineSeconds=3600)
    if what == "suspended":
        suspend(story, saved(40))
    else:
        reach_the_deadline(story)
    before = story.cluster.objects[RUN].pop("status")
    story.reconcile(RUN)
    assert without_times(status(story)) == without_times(before)


def without_times(found: Manifest) -> Manifest:
    marks = [{**mark, "lastTransitionTime": None} for mark in found["conditions"]]
    return {**found, "conditions": marks}


@pytest.mark.parametrize("field", [{"suspend": True}, {"ttlSecondsAfterFinished": 60}])
@pytest.mark.parametrize("ends", ["well", "badly"])
def test_what_is_changed_of_a_run_that_has_ended_does_not_begin_it_again(ends: str, field: dict[str, Any]) -> None:
    story = at("check")
    if ends == "badly":
        story.end_a_pod(0, results.failure("check", ExitCode.BAD_DATA, Reason.DATASET_MALFORMED))
    settle(story)
    before, made = top(story), len(story.cluster.created)
    story.cluster.delete(KEYS[0])
    story.spec(RUN, **field)
    for _ in range(3):
        story.reconcile(RUN)
    assert (top(story), len(story.cluster.created)) == (before, made)
    generation = story.cluster.objects[RUN]["metadata"]["generation"]
    assert generation == 2
    assert status(story)["observedGeneration"] == generation
    assert {found["observedGeneration"] for found in status(story)["conditions"]} == {generation}


def test_a_store_that_is_unsuitable_ends_the_run_before_anything_is_trained() -> None:
    """No other attempt is made, whatever restarts are allowed: the volume will be the same."""
    story = at("check", restarts={"infrastructure": 10, "failure": 10})
    story.end_a_pod(0, results.failure("check", ExitCode.BAD_CONFIG, Reason.STORE_UNSUITABLE))
    settle(story)
    assert top(story)[:2] == ("False", "StoreUnsuitable")
    checked = next(found for found in status(story)["conditions"] if found["type"] == "DatasetChecked")
    assert (checked["status"], checked["reason"]) == ("False", "StoreUnsuitable")
    assert len(jobs(story, "check")) == 1
    assert jobs(story, "train") == []


def reach_the_deadline(story: Story, result: Result | None = None) -> None:
    story.cluster.now = later(3600)
    story.reconcile(RUN)
    story.end_a_pod(0, result or saved(40))
    story.reconcile(RUN)


def test_when_its_time_is_over_it_is_stopped_saves_and_has_failed() -> None:
    story = at("train", activeDeadlineSeconds=3600)
    assert status(story)["startTime"] == resources.TIME, "since its first Job, the check's"
    story.cluster.now = later(3599)
    assert story.reconcile(RUN).requeue_after == 1
    story.cluster.now = later(3600)
    plan = story.reconcile(RUN)
    assert plan.requeue_after is not None
    assert plan.requeue_after > 0, "not at once, and again, while it saves"
    assert (jobs(story), marks(story)["train.1"]) == (["1 going"], "DeadlineExceeded")
    assert top(story)[:2] == ("Unknown", "DeadlineExceeded")
    assert status(story)["progress"] == {"summary": "stopping: training"}
    story.end_a_pod(0, saved(40))
    story.reconcile(RUN)
    assert top(story) == (
        "False",
        "DeadlineExceeded",
        "training: spec.activeDeadlineSeconds is 3600: the run's Jobs had that long; 40 steps of training are saved. "
        "Create a new FineTuneJob with a longer activeDeadlineSeconds or less to do; it begins anew",
    )
    assert status(story)["attempts"][0]["reason"] == "DeadlineExceeded"
    assert "startTime" not in status(story)
    settle(story)
    assert top(story)[:2] == ("False", "DeadlineExceeded")


def test_a_deadline_counts_pauses_and_begins_nothing_after_it() -> None:
    story = at("train", activeDeadlineSeconds=3600)
    lose(story)
    story.reconcile(RUN)
    story.cluster.now = later(3601)
    story.reconcile(RUN)
    assert top(story)[:2] == ("False", "DeadlineExceeded")
    assert jobs(story) == ["1"]


def test_what_is_done_at_the_deadline_is_published() -> None:
    story = at("assess", activeDeadlineSeconds=3600)
    reach_the_deadline(story, results.success("assess"))
    settle(story)
    assert top(story)[:2] == ("True", "Succeeded")


def test_a_stage_that_is_done_at_the_deadline_begins_no_other() -> None:
    story = at("train", activeDeadlineSeconds=3600)
    reach_the_deadline(story, results.success("train"))
    settle(story)
    assert top(story)[:2] == ("False", "DeadlineExceeded")
    assert jobs(story, "assess") == []


def test_time_that_was_over_stays_over_whatever_becomes_of_the_status() -> None:
    """The operator died once it was written down, and somebody wiped the status that said since when."""
    story = at("train", activeDeadlineSeconds=3600)
    story.cluster.now = later(3600)
    story.reconcile(RUN)
    del story.cluster.objects[RUN]["status"]
    story.reconcile(RUN)
    story.end_a_pod(0, saved(40))
    story.reconcile(RUN)
    assert top(story)[:2] == ("False", "DeadlineExceeded")


def test_time_counts_anew_after_a_suspension_and_not_in_a_queue() -> None:
    story = at("train", activeDeadlineSeconds=3600)
    story.cluster.now = later(3000)
    suspend(story, saved(40))
    assert "startTime" not in status(story)
    story.cluster.now = later(50_000)
    assert story.reconcile(RUN).requeue_after is None
    story.spec(RUN, suspend=False)
    story.reconcile(RUN)
    assert status(story)["startTime"] == later(50_000)
    (job,) = (key for key in story.cluster.objects if key.kind == "Job" and "-train-" in key.name)
    story.cluster.suspend(job)
    story.cluster.now = later(60_000)
    story.reconcile(RUN)
    assert (top(story)[1], "startTime" in status(story)) == ("Queued", False)
    story.cluster.resume(job)
    story.reconcile(RUN)
    assert status(story)["startTime"] == later(60_000)
    assert story.reconcile(RUN).requeue_after == RESYNC_SECONDS


def test_a_wiped_start_is_the_running_jobs() -> None:
    story = at("train", activeDeadlineSeconds=3600)
    del story.cluster.objects[RUN]["status"]
    story.reconcile(RUN)
    assert status(story)["startTime"] == story.cluster.now, "which is what this cluster says of Jobs"


def test_a_run_that_has_ended_is_deleted_in_time_and_its_adapter_stays() -> None:
    story = a_run(ttlSecondsAfterFinished=60)
    settle(story)
    assert story.reconcile(RUN).requeue_after == 60
    story.cluster.now = later(59)
    assert story.reconcile(RUN).requeue_after == 1
    story.cluster.now = later(60)
    story.reconcile(RUN)
    assert RUN not in story.cluster.objects
    assert [name for name in story.cluster.names("Job") if RUNS[0] in name] == []
    assert story.cluster.names("Adapter") == ["cardiology-v1"]


def test_it_is_deleted_at_once_where_that_is_wanted_after_its_claim_was_dropped() -> None:
    story = a_run(ttlSecondsAfterFinished=0)
    for _ in range(10):
        plan = story.reconcile(RUN)
        story.cluster.start_pods()
        story.end_a_pod(0)
        if plan.requeue_after == 0:
            break
    assert top(story)[:2] == ("True", "Succeeded")
    story.reconcile(RUN)
    assert RUN not in story.cluster.objects
    line = Key("ConfigMap", NAMESPACE, "wardrobe-line-cardiology")
    assert story.cluster.objects[line]["data"] == {"next": "2"}


@pytest.mark.parametrize(
    ("after", "left"), [({"ttlSecondsAfterFinished": 600}, 550), ({"ttlSecondsAfterFinished": None}, None)]
)
def test_how_long_it_is_kept_may_be_changed_when_it_has_ended(after: dict[str, Any], left: float | None) -> None:
    story = a_run(ttlSecondsAfterFinished=60)
    settle(story)
    story.cluster.now = later(50)
    story.spec(RUN, **after)
    assert story.reconcile(RUN).requeue_after == left
    story.cluster.now = later(599)
    story.reconcile(RUN)
    assert RUN in story.cluster.objects
    story.spec(RUN, ttlSecondsAfterFinished=300)
    story.reconcile(RUN)
    assert RUN not in story.cluster.objects


def test_where_it_may_not_be_deleted_what_it_came_to_stays_said(monkeypatch: pytest.MonkeyPatch) -> None:
    story = a_run(ttlSecondsAfterFinished=60)
    settle(story)
    before = status(story)

    def refuse(*_: object, **__: object) -> None:
        raise RefusedError("finetunejobs is forbidden")

    monkeypatch.setattr(story.cluster, "_delete", refuse)
    story.cluster.now = later(60)
    with pytest.raises(RefusedError):
        asyncio.run(story.cluster.reconciler().reconcile(RUN))
    assert status(story) == before


def test_a_run_that_has_not_ended_is_not_deleted() -> None:
    story = at("train", ttlSecondsAfterFinished=0)
    story.cluster.now = later(100_000)
    assert story.reconcile(RUN).requeue_after == RESYNC_SECONDS
    suspend(story, saved(40))
    assert RUN in story.cluster.objects
