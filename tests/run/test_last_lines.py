"""The Event of a failure tells which rank's it is and what that wrote last; no condition does."""

import pytest
from support import results
from support.run_story import KEYS, Story, in_training

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result

LINES = ["12:30:05 step 42/114", '  File "module.py", line 9, in forward', "KeyError in line 9 of torch.nn"]
CRASHED = Result.failure("train", ExitCode.UNKNOWN, Reason.UNKNOWN, LINES[-1])
LOST = Result.failure("train", ExitCode.DEVICE, Reason.DEVICE_LOST, "CUDA error: uncorrectable ECC error")


def after(result: Result) -> Story:
    """The first run's training has ended so, and the operator has seen it."""
    story = in_training()
    story.cluster.events.clear()
    (pod,) = (key for key in story.cluster.pods() if key.name.startswith(KEYS[1].name))
    story.cluster.end_pod(pod, result)
    story.reconcile(KEYS[1])
    return story


@pytest.mark.parametrize(
    ("result", "reason"), [(CRASHED, "Unknown"), (LOST, "Retrying")], ids=["it failed", "it is made again"]
)
def test_the_event_tells_what_the_rank_wrote_last(result: Result, reason: str) -> None:
    story = after(result.of_rank(3, LINES))
    (event,) = story.cluster.events
    assert event["reason"] == reason
    assert event["message"].endswith("\n".join(["\nrank 3, at last:", *LINES]))
    assert result.message in event["message"].partition("\n")[0]
    for condition in story.cluster.objects[KEYS[1]]["status"]["conditions"]:
        assert "rank 3" not in condition["message"]


def test_lines_that_an_event_has_no_room_for_are_the_first_ones() -> None:
    lines = [f"{number:02} {'x' * 97}" for number in range(8)]
    (event,) = after(CRASHED.of_rank(0, lines)).cluster.events
    assert event["message"].splitlines()[1:] == ["rank 0, at last:", *lines[-4:]]


@pytest.mark.parametrize(
    "result",
    [CRASHED, results.preempted("train"), results.failure("train", ExitCode.BAD_CONFIG, Reason.CONFIG_INVALID)],
    ids=["of an older release", "told to stop", "before any rank began"],
)
def test_where_no_rank_has_said_anything_the_event_is_the_condition(result: Result) -> None:
    (event,) = after(result).cluster.events
    assert "\n" not in event["message"]


def test_what_comes_after_a_retry_is_not_told_with_lines_of_the_attempt_before() -> None:
    story = after(LOST.of_rank(3, LINES))
    story.cluster.events.clear()
    for _ in range(3):
        story.reconcile(KEYS[1])
    story.cluster.start_pods()
    (pod,) = (key for key in story.cluster.pods() if key.name.startswith(KEYS[1].name))
    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no GPU."}
    story.cluster.objects[pod]["status"] = {"phase": "Pending", "conditions": [waits]}
    story.reconcile(KEYS[1])
    (event,) = story.cluster.events
    assert event["reason"] == "Unschedulable"
    assert "\n" not in event["message"]


def test_a_job_on_its_way_out_is_not_told_with_lines_of_the_attempt_before() -> None:
    story = after(LOST.of_rank(3, LINES))
    while not (second := [key for key in story.cluster.objects if key.kind == "Job" and key.name.endswith("train-2")]):
        story.reconcile(KEYS[1])
    story.reconcile(KEYS[1])
    story.cluster.events.clear()
    story.cluster.objects[second[0]]["metadata"]["deletionTimestamp"] = story.cluster.now
    story.reconcile(KEYS[1])
    assert all("\n" not in event["message"] for event in story.cluster.events)
