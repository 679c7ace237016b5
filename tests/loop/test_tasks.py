"""How far a task is, read from its Job and pod: one row per story."""

from typing import Any

import pytest
from support import results

from wardrobe.api.reasons import Waiting
from wardrobe.plan import tasks
from wardrobe.plan.plan import Annotate, Apply, Delete
from wardrobe.plan.tasks import Ended, Lost, Pending, TaskView
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result

Manifest = dict[str, Any]

SUCCESS = results.success("train")
PREEMPTED = Result(task="train", exit_code=ExitCode.PREEMPTED, reason=Reason.TERMINATED, message="the node drains")
NOW = "2026-01-01T00:10:00Z"
BAD_DATA = results.failure("train", ExitCode.BAD_DATA, Reason.DATASET_MALFORMED)


def job(number: int = 1, conditions: list[Manifest] | None = None, **more: Any) -> Manifest:
    metadata = {
        "name": f"heart-train-{number}",
        "namespace": "ward",
        "uid": f"job-{number}",
        "labels": {"wardrobe.dev/task": "train", "wardrobe.dev/number": str(number)},
        "annotations": more.pop("annotations", {}),
    }
    return {"metadata": metadata, "spec": more, "status": {"conditions": conditions or []}}


def condition(kind: str, message: str = "") -> Manifest:
    return {"type": kind, "status": "True", "message": message}


def pod(phase: str = "Running", conditions: list[Manifest] | None = None, **state: Any) -> Manifest:
    status: Manifest = {"phase": phase, "podIP": "10.0.0.7", "conditions": conditions or []}
    if state:
        status["containerStatuses"] = [{"name": "trainer", "state": state}]
    return {"metadata": {"ownerReferences": [{"uid": "job-1"}]}, "status": status}


def ended(code: int, **more: Any) -> Manifest:
    return pod("Failed" if code else "Succeeded", terminated={"exitCode": code, **more})


def view(job: Manifest, pod: Manifest | None = None) -> TaskView:
    return TaskView("train", int(job["metadata"]["labels"]["wardrobe.dev/number"]), job, pod)


GOES_ON = [
    (view(job()), Waiting.RUNNING, "heart-train-1"),
    (view(job(), pod("Pending")), Waiting.RUNNING, "heart-train-1"),
    (view(job(), pod()), Waiting.RUNNING, "heart-train-1"),
    (
        view(
            job(),
            pod("Pending", [{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1 nodes: no cpu."}]),
        ),
        Waiting.UNSCHEDULABLE,
        "0/1 nodes: no cpu.",
    ),
    (
        view(job(), pod("Pending", waiting={"reason": "ImagePullBackOff", "message": "no such image"})),
        Waiting.POD_STUCK,
        "no such image",
    ),
    (view(job(), pod("Pending", waiting={"reason": "ContainerCreating"})), Waiting.RUNNING, "heart-train-1"),
]


@pytest.mark.parametrize(("seen", "reason", "said"), GOES_ON)
def test_a_task_that_goes_on_says_how(seen: TaskView, reason: Waiting, said: str) -> None:
    state = tasks.state(seen)
    assert isinstance(state, Pending)
    assert state.reason == reason
    assert said in state.message


ENDS = [
    ("its message", view(job(), ended(0, message=SUCCESS.termination_message())), ExitCode.SUCCEEDED, "done"),
    ("its message", view(job(), ended(65, message=BAD_DATA.termination_message())), ExitCode.BAD_DATA, "row 3"),
    ("no message", view(job(), ended(68)), ExitCode.DIVERGED, "exit code 68"),
    ("a message that is no result", view(job(), ended(1, message="Traceback")), ExitCode.UNKNOWN, "exit code 1"),
    ("the kernel", view(job(), ended(137, reason="OOMKilled")), ExitCode.OUT_OF_MEMORY, "memory"),
    ("an eviction before the container ran", view(job(), pod("Failed")), ExitCode.PREEMPTED, "from outside"),
    (
        "an eviction, for which the kubelet makes up an exit code",
        view(job(), ended(137, reason="ContainerStatusUnknown")),
        ExitCode.PREEMPTED,
        "from outside",
    ),
    (
        "a disruption that the pod is marked with",
        view(
            job(),
            pod("Failed", [{"type": "DisruptionTarget", "status": "True"}], terminated={"exitCode": 137}),
        ),
        ExitCode.PREEMPTED,
        "from outside",
    ),
    (
        "a container that the runtime could not start",
        view(job(), ended(128, reason="StartError", message="exec: /opt/wardrobe: no such file or directory")),
        ExitCode.PREEMPTED,
        "no such file or directory",
    ),
    ("a success that left no result", view(job(), ended(0)), ExitCode.UNKNOWN, "left no message"),
    (
        "an annotation of another version, which stays",
        view(job(annotations={"wardrobe.dev/result": '{"reason": "FromTheFuture"}'}), ended(0)),
        ExitCode.UNKNOWN,
        "cannot read",
    ),
    (
        "the Job's condition",
        view(job(conditions=[condition("Failed", "Container trainer for pod a/b failed with exit code 66 matching")])),
        ExitCode.BAD_BASE,
        "exit code 66",
    ),
    (
        "a disruption in the Job's condition",
        view(job(conditions=[condition("Failed", "Pod a/b has condition DisruptionTarget matching FailJob rule")])),
        ExitCode.PREEMPTED,
        "evicted",
    ),
    (
        "nothing but a failed Job",
        view(job(conditions=[condition("Failed", "Job has reached the specified backoff limit")])),
        ExitCode.UNKNOWN,
        "backoff limit",
    ),
    ("somebody's suspension", view(job(suspend=True)), ExitCode.PREEMPTED, "suspended"),
    (
        "the Job's annotation before all others",
        view(job(annotations={"wardrobe.dev/result": PREEMPTED.termination_message()}), ended(70)),
        ExitCode.PREEMPTED,
        "the node drains",
    ),
]


@pytest.mark.parametrize(("seen", "code", "said"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_the_end_of_a_task_is_known_from(seen: TaskView, code: ExitCode, said: str) -> None:
    state = tasks.state(seen)
    assert isinstance(state, Ended)
    assert state.result.exit_code == code
    assert said in f"{state.result.message} {state.result.problem}"


def test_a_success_whose_result_is_gone_is_asked_again() -> None:
    seen = view(job(conditions=[condition("Complete")]))
    assert isinstance(tasks.state(seen), Lost)
    step = tasks.advance(seen, build, NOW)
    assert [type(write) for write in step.writes] == [Delete]


def build(number: int) -> Manifest:
    return {"metadata": {"name": f"heart-train-{number}"}}


def test_the_first_job_is_made() -> None:
    step = tasks.advance(None, build, NOW)
    assert step.writes == (Apply(build(1)),)
    assert isinstance(step.state, Pending)


def test_a_lost_attempt_is_made_again_under_the_next_number() -> None:
    step = tasks.advance(view(job(3), ended(75, message=PREEMPTED.termination_message())), build, NOW)
    assert step.writes == (Apply(build(4)),)
    assert isinstance(step.state, Pending)
    assert step.state.reason == Waiting.RETRYING


def test_the_next_attempt_waits_longer_each_time() -> None:
    for number, seconds in ((1, 10), (2, 20), (5, 160), (8, 600)):
        assert tasks.pause(number) == seconds
    ended_at = {"finishedAt": "2026-01-01T00:09:55Z", "message": PREEMPTED.termination_message()}
    step = tasks.advance(view(job(), ended(75, **ended_at)), build, NOW)
    assert step.writes == ()
    assert isinstance(step.state, Pending)
    assert step.state.look_again == 5
    assert "attempt 2 begins in 5 s" in step.state.message


def test_attempts_end_some_day() -> None:
    step = tasks.advance(view(job(tasks.RETRIES + 1), ended(75, message=PREEMPTED.termination_message())), build, NOW)
    assert step.writes == ()
    assert isinstance(step.state, Ended)
    assert tasks.failure_reason(step.state) == "RetriesExhausted"


def test_a_failure_is_not_tried_again() -> None:
    step = tasks.advance(view(job(), ended(65, message=BAD_DATA.termination_message())), build, NOW)
    assert step.writes == ()
    assert isinstance(step.state, Ended)
    assert "Mend row 3" in tasks.failure_message(step.state.result)


def test_an_end_is_recorded_once() -> None:
    seen = view(job(), ended(0, message=SUCCESS.termination_message()))
    (write,) = tasks.record(seen)
    assert isinstance(write, Annotate)
    recorded = view(job(annotations=write.annotations), seen.pod)
    assert tasks.record(recorded) == ()
    assert tasks.state(recorded) == Ended(SUCCESS, recorded=True)


def test_the_newest_job_that_is_not_being_deleted_counts() -> None:
    deleted = job(3)
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    seen = tasks.view("train", [job(1), job(2), deleted], [])
    assert seen is not None
    assert seen.number == 2
    assert tasks.view("check", [job(1)], []) is None
