"""How far a task is, read from its Job, its pods and the run's record: one row per story."""

from dataclasses import replace
from typing import Any

import pytest
from support import results

from wardrobe.api.meta import Key, Manifest, Metadata
from wardrobe.api.reasons import Waiting
from wardrobe.stage.advance import JobStep, Turn, stop, take, turn
from wardrobe.stage.attempt import Ended, Lost, Pending, State
from wardrobe.stage.attempts import Attempts, Owner, see
from wardrobe.stage.job import Made
from wardrobe.stage.record import BEGUN, Record, read_record, record_manifest
from wardrobe.stage.stage import Retries, Stage
from wardrobe.writes import Create, Delete, DropEntry, Replace
from wardrobe_contracts.base import Task
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result

SUCCESS = results.success("train")
PREEMPTED = Result.failure("train", ExitCode.PREEMPTED, Reason.TERMINATED, "the node drains")
NOW = "2026-01-01T00:10:00Z"
BAD_DATA = results.failure("train", ExitCode.BAD_DATA, Reason.DATASET_MALFORMED)


TRAIN = Stage("train", more_memory="Raise spec.pod.resources.limits.memory")
OWNER = Owner("FineTuneJob", Metadata(name="heart", namespace="ward", uid="heart-uid"), "heart", (TRAIN,))


def job(number: int = 1, conditions: list[Manifest] | None = None, **more: Any) -> Manifest:
    metadata = {
        "name": f"heart-train-{number}",
        "namespace": "ward",
        "uid": f"job-{number}",
        "ownerReferences": [{"uid": "heart-uid", "controller": True}],
        "annotations": more.pop("annotations", {}),
    }
    status = {"conditions": conditions or [], **more.pop("status", {})}
    return {"metadata": metadata, "spec": more, "status": status}


def condition(kind: str, message: str = "") -> Manifest:
    return {"type": kind, "status": "True", "message": message}


def pod(phase: str = "Running", conditions: list[Manifest] | None = None, number: int = 1, **state: Any) -> Manifest:
    status: Manifest = {"phase": phase, "podIP": "10.0.0.7", "conditions": conditions or []}
    if state:
        status["containerStatuses"] = [{"name": "trainer", "state": state}]
    controller = {"kind": "Job", "uid": f"job-{number}", "controller": True}
    return {"metadata": {"name": f"heart-train-{number}-abc", "ownerReferences": [controller]}, "status": status}


def ended(code: int, number: int = 1, **more: Any) -> Manifest:
    return pod("Failed" if code else "Succeeded", number=number, terminated={"exitCode": code, **more})


def told_to_stop(pod: Manifest, grace_ends: str) -> Manifest:
    pod["metadata"]["deletionTimestamp"] = grace_ends
    return pod


def seen(
    *objects: Manifest | None, marks: dict[int, str] | None = None, results: dict[int, str] | None = None
) -> Attempts:
    """Jobs and pods; the record knows of all Jobs unless told otherwise."""
    there = [found for found in objects if found is not None]
    jobs, pods = [found for found in there if "spec" in found], [found for found in there if "spec" not in found]
    numbers = {int(found["metadata"]["name"].rpartition("-")[2]): BEGUN for found in jobs} if marks is None else marks
    record = Record(
        {("train", number): mark for number, mark in numbers.items()},
        {("train", number): text for number, text in (results or {}).items()},
        resource_version="7",
    )
    return see(OWNER, jobs, pods, record, NOW)


def state(view: Attempts) -> State:
    newest = view.newest("train")
    assert newest is not None
    return newest.state


def advance(view: Attempts) -> JobStep:
    found = turn(view, TRAIN)
    return take(view, TRAIN, found, Made(build(found.number))) if isinstance(found, Turn) else found


def being_deleted(job: Manifest) -> Manifest:
    job["metadata"]["deletionTimestamp"] = NOW
    return job


MARK = [{"type": "DisruptionTarget", "status": "True", "message": "evicted by a drain"}]


GOES_ON = [
    (seen(job()), Waiting.RUNNING, "heart-train-1"),
    (seen(job(), pod("Pending")), Waiting.RUNNING, "heart-train-1"),
    (seen(job(), pod()), Waiting.RUNNING, "heart-train-1"),
    (
        seen(
            job(),
            pod("Pending", [{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1 nodes: no cpu."}]),
        ),
        Waiting.UNSCHEDULABLE,
        "0/1 nodes: no cpu.",
    ),
    (
        seen(job(), pod("Pending", waiting={"reason": "ImagePullBackOff", "message": "no such image"})),
        Waiting.POD_STUCK,
        "no such image",
    ),
    (seen(job(), pod("Pending", waiting={"reason": "ContainerCreating"})), Waiting.RUNNING, "heart-train-1"),
    (seen(job(suspend=True)), Waiting.QUEUED, "heart-train-1 is suspended"),
    (seen(job(), pod(conditions=MARK, running={})), Waiting.RUNNING, "evicted by a drain"),
    (seen(job(), told_to_stop(pod(running={}), NOW)), Waiting.RUNNING, "may still save"),
    (
        seen(job(status={"startTime": NOW}, suspend=True), told_to_stop(pod(running={}), NOW)),
        Waiting.RUNNING,
        "may still save",
    ),
    (
        seen(job(conditions=[condition("Failed", "Pod a/b has condition DisruptionTarget")]), pod(running={})),
        Waiting.RUNNING,
        "heart-train-1",
    ),
    (seen(being_deleted(job()), told_to_stop(pod(running={}), NOW)), Waiting.RETRYING, "its pod may still save"),
    (seen(being_deleted(job())), Waiting.RETRYING, "heart-train-1 is being deleted"),
    (seen(being_deleted(job(suspend=True))), Waiting.RETRYING, "heart-train-1 is being deleted"),
]


@pytest.mark.parametrize(("view", "reason", "said"), GOES_ON)
def test_a_task_that_goes_on_says_how(view: Attempts, reason: Waiting, said: str) -> None:
    stands = state(view)
    assert isinstance(stands, Pending)
    assert stands.reason == reason
    assert said in stands.message


ENDS = [
    ("its message", seen(job(), ended(0, message=SUCCESS.termination_message())), ExitCode.SUCCEEDED, "done"),
    ("its message", seen(job(), ended(65, message=BAD_DATA.termination_message())), ExitCode.BAD_DATA, "row 3"),
    ("no message", seen(job(), ended(68)), ExitCode.DIVERGED, "exit code 68"),
    ("a message that is no result", seen(job(), ended(1, message="Traceback")), ExitCode.UNKNOWN, "exit code 1"),
    ("the kernel", seen(job(), ended(137, reason="OOMKilled")), ExitCode.OUT_OF_MEMORY, "memory"),
    ("an eviction before the container ran", seen(job(), pod("Failed")), ExitCode.PREEMPTED, "from outside"),
    (
        "an eviction, for which the kubelet makes up an exit code",
        seen(job(), ended(137, reason="ContainerStatusUnknown")),
        ExitCode.PREEMPTED,
        "from outside",
    ),
    (
        "a disruption that the pod is marked with",
        seen(
            job(),
            pod("Failed", [{"type": "DisruptionTarget", "status": "True"}], terminated={"exitCode": 137}),
        ),
        ExitCode.PREEMPTED,
        "from outside",
    ),
    (
        "a container that the runtime could not start",
        seen(job(), ended(128, reason="StartError", message="exec: /opt/wardrobe: no such file or directory")),
        ExitCode.PREEMPTED,
        "no such file or directory",
    ),
    ("a success that left no result", seen(job(), ended(0)), ExitCode.UNKNOWN, "left no message"),
    (
        "a recorded result of another release, which stays",
        seen(job(), ended(0), results={1: '{"reason": "FromTheFuture"}'}),
        ExitCode.UNKNOWN,
        "cannot read",
    ),
    (
        "the Job's condition",
        seen(job(conditions=[condition("Failed", "Container trainer for pod a/b failed with exit code 66 matching")])),
        ExitCode.BAD_BASE,
        "exit code 66",
    ),
    (
        "a disruption in the Job's condition",
        seen(job(conditions=[condition("Failed", "Pod a/b has condition DisruptionTarget matching FailJob rule")])),
        ExitCode.PREEMPTED,
        "evicted",
    ),
    (
        "nothing but a failed Job",
        seen(job(conditions=[condition("Failed", "Job has reached the specified backoff limit")])),
        ExitCode.UNKNOWN,
        "backoff limit",
    ),
    (
        "a suspension after it had begun",
        seen(job(suspend=True, status={"startTime": NOW})),
        ExitCode.PREEMPTED,
        "suspended",
    ),
    (
        "a node that has not answered for a minute after the pod's grace",
        seen(job(), told_to_stop(pod(running={}), "2026-01-01T00:08:59Z")),
        ExitCode.PREEMPTED,
        "node has not answered",
    ),
    (
        "a disrupted pod that saved, and says so",
        seen(job(), pod("Failed", MARK, terminated={"exitCode": 75, "message": PREEMPTED.termination_message()})),
        ExitCode.PREEMPTED,
        "the node drains",
    ),
    (
        "a pod that saved, of a Job that is being deleted",
        seen(being_deleted(job()), told_to_stop(ended(75, message=PREEMPTED.termination_message()), NOW)),
        ExitCode.PREEMPTED,
        "the node drains",
    ),
    (
        "a pod of such a Job whose node has not answered",
        seen(being_deleted(job()), told_to_stop(pod(running={}), "2026-01-01T00:08:59Z")),
        ExitCode.PREEMPTED,
        "node has not answered",
    ),
    (
        "the end of such a Job, whose pod is gone",
        seen(being_deleted(job(conditions=[condition("Failed", "failed with exit code 66 matching")]))),
        ExitCode.BAD_BASE,
        "exit code 66",
    ),
    (
        "the record, of a Job that we stopped and whose pod nobody has heard",
        seen(marks={1: "Suspended"}),
        ExitCode.PREEMPTED,
        "was stopped (Suspended)",
    ),
    ("a Job that is gone", seen(marks={1: BEGUN}), ExitCode.PREEMPTED, "heart-train-1 was deleted"),
    (
        "the record before all others",
        seen(job(), ended(70), results={1: PREEMPTED.termination_message()}),
        ExitCode.PREEMPTED,
        "the node drains",
    ),
    (
        "the record, when its Job is gone",
        seen(marks={1: "BAD_DATA"}, results={1: BAD_DATA.termination_message()}),
        ExitCode.BAD_DATA,
        "row 3",
    ),
    (
        "its Job's annotation, where the first releases kept it",
        seen(job(annotations={"wardrobe.dev/result": PREEMPTED.termination_message()}), ended(70)),
        ExitCode.PREEMPTED,
        "the node drains",
    ),
]


@pytest.mark.parametrize(("view", "code", "said"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
def test_the_end_of_a_task_is_known_from(view: Attempts, code: ExitCode, said: str) -> None:
    stands = state(view)
    assert isinstance(stands, Ended)
    assert stands.result.exit_code == code
    assert said in f"{stands.result.message} {stands.result.problem}"


def of_index(index: int, pod: Manifest) -> Manifest:
    """One of an attempt's several pods."""
    pod["metadata"]["labels"] = {"batch.kubernetes.io/job-completion-index": str(index)}
    pod["metadata"]["name"] = f"heart-train-1-{index}-abc"
    return pod


def says(code: ExitCode, reason: Reason, message: str) -> Manifest:
    return ended(code, message=Result.failure("train", code, reason, message).termination_message())


DONE: Manifest = {"message": SUCCESS.termination_message()}
LOST_ITS_PEER = (ExitCode.COMMUNICATION, Reason.PEERS_LOST, "connection closed by peer")
TOGETHER = [
    ("all did their part", [ended(0, **DONE), ended(0, **DONE)], ExitCode.SUCCEEDED, "done"),
    ("the first saved it, the other was stopped late", [ended(0, **DONE), ended(75)], ExitCode.SUCCEEDED, "done"),
    (
        "the second diverged, the first was only left alone",
        [says(*LOST_ITS_PEER), says(ExitCode.DIVERGED, Reason.DIVERGED, "inf")],
        ExitCode.DIVERGED,
        "inf",
    ),
    (
        "the second has no memory, the first was ended with it",
        [ended(75, message=PREEMPTED.termination_message()), ended(137, reason="OOMKilled")],
        ExitCode.OUT_OF_MEMORY,
        "memory",
    ),
    ("they lost each other", [says(*LOST_ITS_PEER), says(*LOST_ITS_PEER)], ExitCode.COMMUNICATION, "closed by peer"),
    (
        "the node of one was drained",
        [says(*LOST_ITS_PEER), pod("Failed", MARK, terminated={"exitCode": 137})],
        ExitCode.COMMUNICATION,
        "closed by peer",
    ),
]


@pytest.mark.parametrize(("pods", "code", "said"), [row[1:] for row in TOGETHER], ids=[row[0] for row in TOGETHER])
def test_the_end_of_an_attempt_of_several_pods(pods: list[Manifest], code: ExitCode, said: str) -> None:
    together = [of_index(index, pod) for index, pod in enumerate(pods)]
    for order in (together, together[::-1]):
        stands = state(seen(job(), *order))
        assert isinstance(stands, Ended)
        assert (stands.result.exit_code, said in stands.result.message) == (code, True)


def test_where_the_first_pod_is_gone_the_task_is_asked_again_what_it_made() -> None:
    assert isinstance(state(seen(job(), of_index(1, ended(0, **DONE)))), Lost)
    evicted = condition("Failed", "Pod a/b has condition DisruptionTarget matching FailJob rule")
    stands = state(seen(job(conditions=[evicted]), of_index(1, ended(0, **DONE))))
    assert isinstance(stands, Ended), "the Job knows that it made nothing"
    assert stands.result.exit_code is ExitCode.PREEMPTED


def test_an_attempt_goes_on_while_any_of_its_pods_does() -> None:
    waits = pod("Pending", [{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1 nodes: no GPU."}])
    stands = state(seen(job(), of_index(0, pod()), of_index(1, waits)))
    assert isinstance(stands, Pending)
    assert (stands.reason, "no GPU" in stands.message) == (Waiting.UNSCHEDULABLE, True)
    other = of_index(1, pod())
    other["status"]["podIP"] = "10.0.0.8"
    stands = state(seen(job(), other, of_index(0, pod())))
    assert isinstance(stands, Pending)
    assert stands.pod_ip == "10.0.0.7", "the first one's, which says how far it is"
    stands = state(seen(job(), of_index(0, ended(70)), of_index(1, pod(running={}))))
    assert isinstance(stands, Pending), "the other ends with it, and may still save"


def build(number: int) -> Manifest:
    return {"metadata": {"name": f"heart-train-{number}"}}


def made(step: JobStep) -> int | None:
    """Number of the attempt that a step makes, after it has been written down."""
    match step.writes:
        case (Replace(record), Create(job, DropEntry(_, entry))):
            number = int(job["metadata"]["name"].rpartition("-")[2])
            assert entry == f"train.{number}"
            assert record["data"][f"train.{number}"] == BEGUN
            return number
    assert step.writes == ()
    return None


def test_a_success_whose_result_is_gone_is_asked_again_where_the_work_was_done() -> None:
    view = seen(job(3, conditions=[condition("Complete")]), marks={1: "PREEMPTED", 2: "PREEMPTED", 3: BEGUN})
    assert isinstance(state(view), Lost)
    assert made(advance(view)) == 4
    known = view.known()
    assert [known.begun_at("train", number) for number in (1, 2, 3, 4)] == [1, 2, 3, 3]


def test_the_first_job_is_made() -> None:
    step = advance(seen(marks={}))
    assert made(step) == 1
    assert isinstance(step.state, Pending)


def test_a_lost_attempt_is_made_again_under_the_next_number() -> None:
    lost = ended(75, 3, message=PREEMPTED.termination_message())
    step = advance(seen(job(3, conditions=[condition("Failed")]), lost))
    assert made(step) == 4
    assert step.writes[0].manifest["data"]["train.3"] == "PREEMPTED"  # type: ignore[union-attr]
    assert isinstance(step.state, Pending)
    assert step.state.reason == Waiting.RETRYING


def test_a_deleted_job_costs_its_number() -> None:
    assert made(advance(seen(job(1, conditions=[condition("Failed")]), marks={1: "PREEMPTED", 2: BEGUN}))) == 3
    last = advance(seen(marks={Retries().most + 1: BEGUN}))
    assert isinstance(last.state, Ended)
    assert last.state.reason == "RetriesExhausted"


def test_the_next_attempt_waits_longer_each_time() -> None:
    for number, seconds in ((1, 10), (2, 20), (5, 160), (8, 600)):
        assert Retries().pause(number) == seconds


SKEWED: Manifest = {"finishedAt": "2026-01-01T02:00:00Z", "message": PREEMPTED.termination_message()}
"""By the clock of a node that is two hours ahead."""
FAILED = condition("Failed") | {"lastTransitionTime": "2026-01-01T00:09:55Z"}
LATER = FAILED | {"lastTransitionTime": "2026-01-01T00:12:00Z"}
PAUSES = [
    ("since the Job failed", job(conditions=[FAILED]), ended(75, **SKEWED), 5),
    ("from the start, until it has", job(), ended(75, **SKEWED), 10),
    (
        "no longer than it is, whatever a clock says",
        job(conditions=[LATER]),
        ended(75, **SKEWED),
        10,
    ),
    ("since its pod was given up", job(), told_to_stop(pod(running={}), "2026-01-01T00:08:00Z"), 0),
]


@pytest.mark.parametrize(("lost", "its_pod", "left"), [row[1:] for row in PAUSES], ids=[row[0] for row in PAUSES])
def test_a_pause_goes_by_the_control_planes_clock(lost: Manifest, its_pod: Manifest, left: int) -> None:
    step = advance(seen(lost, its_pod))
    assert isinstance(step.state, Pending)
    if left:
        assert (step.writes, step.state.look_again) == ((), left)
        assert f"attempt 2 begins in {left} s" in step.state.message
    else:
        assert step.writes, "no Failed condition comes while the node is not there"


def test_a_job_of_several_pods_that_has_its_success_and_could_start_another_is_deleted() -> None:
    """The first saved what all made; a queue has let the others go, and may let them in again."""
    suspended = job(suspend=True, completions=2, status={"startTime": NOW})
    view = seen(suspended, of_index(0, ended(0, **DONE)))
    assert [found.number for found in view.given_up()] == [1]
    whole = seen(job(completions=2), of_index(0, ended(0, **DONE)), of_index(1, ended(0, **DONE)))
    assert whole.given_up() == [], "its own end follows"


def test_a_pause_does_not_begin_anew_for_ever_where_one_of_several_nodes_is_not_there() -> None:
    """The Job has no end before that pod has one; the other pod ended long ago."""
    silent = of_index(0, told_to_stop(pod(running={}), "2026-01-01T00:08:00Z"))
    left_alone = of_index(1, says(*LOST_ITS_PEER))
    step = advance(seen(job(), silent, left_alone))
    assert step.writes
    assert isinstance(step.state, Pending)
    assert step.state.look_again is None


def test_a_job_that_could_still_start_pods_is_deleted_after_its_end_is_written_down() -> None:
    suspended = job(2, suspend=True, status={"startTime": NOW}, annotations={"wardrobe.dev/result": LOST})
    record, deleted = advance(seen(suspended)).writes
    assert isinstance(record, Replace)
    assert record.manifest["data"] == {"train.2": "PREEMPTED"}
    assert deleted == Delete(Key("Job", "ward", "heart-train-2"), "job-2")


def test_why_an_attempt_was_stopped_is_no_riddle_to_an_earlier_release() -> None:
    record = Record({("train", 1): "Suspended", ("train", 2): "Preempted", ("check", 1): "SUCCEEDED"})
    manifest = record_manifest("heart", OWNER.kind, OWNER.metadata, replace(record, resource_version="7"))
    assert manifest["data"] == {"check.1": "SUCCEEDED", "train.1": "PREEMPTED", "train.2": "PREEMPTED"}
    assert read_record(manifest).marks == record.marks


@pytest.mark.parametrize(("code", "reason", "words"), [(137, "Error", "stopped"), (143, "Error", "stopped")])
def test_a_pod_that_was_told_to_stop_and_killed_has_not_failed(code: int, reason: str, words: str) -> None:
    killed = told_to_stop(ended(code, reason=reason), NOW)
    found = state(seen(being_deleted(job()), killed, marks={1: "Suspended"}))
    assert isinstance(found, Ended)
    assert found.result.exit_code is ExitCode.PREEMPTED
    assert words in found.message


def test_a_pod_that_was_killed_for_memory_while_it_stopped_has_failed() -> None:
    found = state(seen(job(), told_to_stop(ended(137, reason="OOMKilled"), NOW)))
    assert isinstance(found, Ended)
    assert found.result.exit_code is ExitCode.OUT_OF_MEMORY


@pytest.mark.parametrize("mark", ["Suspended", "Preempted", "PREEMPTED", "STORE", BEGUN])
def test_who_asks_after_a_lost_result_and_is_stopped_leaves_the_folder_to_the_next(mark: str) -> None:
    record = Record({("train", 1): "PREEMPTED", ("train", 2): "SUCCEEDED", ("train", 3): mark})
    assert [record.begun_at("train", number) for number in (1, 2, 3, 4)] == [1, 2, 2, 2]


def workload(number: int, reason: str) -> Manifest:
    """Kueue's, of a Job that it has evicted."""
    owner = {"uid": f"job-{number}", "controller": True}
    evicted = {"type": "Evicted", "status": "True", "reason": reason, "message": ""}
    return {"metadata": {"ownerReferences": [owner]}, "status": {"conditions": [evicted]}}


@pytest.mark.parametrize(("reason", "lost"), [("Preempted", False), ("PodsReadyTimeout", True), ("Deactivated", True)])
def test_what_gives_way_in_a_queue_is_not_lost_however_often(reason: str, lost: bool) -> None:
    evicted = job(40, suspend=True, status={"startTime": NOW}, annotations={"wardrobe.dev/result": LOST})
    before: dict[tuple[Task, int], str] = {("train", number): "Preempted" for number in range(1, 40)}
    record = Record({**before, ("train", 40): BEGUN}, resource_version="7")
    view = see(OWNER, [evicted], [], record, NOW, workloads=[workload(40, reason)])
    assert turn(view, TRAIN) == Turn(41, view.newest("train"), PREEMPTED)
    assert view.stopped("train") == set(range(1, 40 if lost else 41))


def test_what_failed_by_itself_while_a_queue_took_it_back_has_failed() -> None:
    failed = BAD_DATA.termination_message()
    view = seen(job(suspend=True, status={"startTime": NOW}, annotations={"wardrobe.dev/result": failed}))
    assert view.known().marks == {("train", 1): "BAD_DATA"}


LOST = PREEMPTED.termination_message()
IN_THE_WAY = [
    ("its pod is saving", told_to_stop(pod(running={}), NOW), 60.0),
    ("a pod whose Job is gone", told_to_stop(pod(running={}, number=9), NOW), 60.0),
    ("a pod that nobody has told to stop", pod(running={}, number=9), None),
]


@pytest.mark.parametrize(("other", "seconds"), [row[1:] for row in IN_THE_WAY], ids=[row[0] for row in IN_THE_WAY])
def test_nothing_is_made_beside_what_may_still_run(other: Manifest, seconds: float | None) -> None:
    step = advance(seen(job(annotations={"wardrobe.dev/result": LOST}, conditions=[condition("Failed")]), other))
    assert step.writes == ()
    assert isinstance(step.state, Pending)
    assert other["metadata"]["name"] in step.state.message
    assert step.state.look_again == seconds


def test_nothing_is_made_beside_a_job_that_is_being_deleted() -> None:
    deleted = job(1, conditions=[condition("Failed")])
    deleted["metadata"]["deletionTimestamp"] = NOW
    step = advance(seen(deleted, marks={1: "PREEMPTED", 2: "PREEMPTED"}))
    assert step.writes == ()
    assert isinstance(step.state, Pending)
    assert "heart-train-1" in step.state.message


def test_the_next_is_made_beside_a_job_that_is_being_deleted_once_its_pods_have_ended() -> None:
    """Such a Job starts none; it may stay for as long as an unreachable node keeps its pod."""
    lost = told_to_stop(pod(running={}), "2026-01-01T00:08:59Z")
    assert made(advance(seen(being_deleted(job()), lost, marks={1: "Suspended"}))) == 2


STOPPED = [
    ("lost", PREEMPTED, "Suspended"),
    ("left alone by the others", Result.failure("train", *LOST_ITS_PEER), "Suspended"),
    ("done", SUCCESS, "SUCCEEDED"),
    ("failed by itself", BAD_DATA, "BAD_DATA"),
]


@pytest.mark.parametrize(("result", "mark"), [row[1:] for row in STOPPED], ids=[row[0] for row in STOPPED])
def test_what_we_stopped_was_stopped_unless_it_was_done_or_had_failed(result: Result, mark: str) -> None:
    said = told_to_stop(ended(int(result.exit_code), message=result.termination_message()), NOW)
    view = seen(being_deleted(job()), said, marks={1: "Suspended"})
    (write,) = view.put(view.known())
    assert isinstance(write, Replace)
    assert read_record(write.manifest).marks == {("train", 1): mark}
    assert view.stopped("train") == ({1} if mark == "Suspended" else set())
    again = see(OWNER, [], [], read_record(write.manifest), NOW)
    assert again.put(again.known()) == ()
    assert state(again) == Ended(result, recorded=True)


def test_what_we_stopped_is_neither_lost_nor_waited_for() -> None:
    most = Retries().most
    marks = dict.fromkeys(range(1, 200), "Suspended") | dict.fromkeys(range(200, 200 + most), "PREEMPTED")
    view = seen(marks={**marks, 200 + most: "Suspended"})
    assert made(advance(view)) == 201 + most, "at once"
    last = advance(seen(marks={**marks, 200 + most: "PREEMPTED"}))
    assert isinstance(last.state, Ended)
    assert f"{most + 1} attempts were lost" in last.state.message


STAYING = [
    ("it runs", job(), pod(running={}), "Suspended"),
    ("a queue holds it", job(suspend=True), None, "Suspended"),
    ("it has no pod yet", job(), None, "Suspended"),
    ("its pod has failed, as it will", job(), ended(65, message=BAD_DATA.termination_message()), "BAD_DATA"),
]


@pytest.mark.parametrize(("its_job", "its_pod", "mark"), [row[1:] for row in STAYING], ids=[row[0] for row in STAYING])
def test_a_job_is_stopped_in_the_foreground_after_that_is_written_down(
    its_job: Manifest, its_pod: Manifest | None, mark: str
) -> None:
    view = seen(its_job, its_pod)
    record, deleted = stop(view, view.known(), Waiting.SUSPENDED)
    assert isinstance(record, Replace)
    assert read_record(record.manifest).marks == {("train", 1): mark}
    assert deleted == Delete(Key("Job", "ward", "heart-train-1"), "job-1", foreground=True)


ENDED_ALREADY = [
    ("done, which its Job will be, too", seen(job(), ended(0, message=SUCCESS.termination_message()))),
    ("done", seen(job(conditions=[condition("Complete")]))),
    ("failed", seen(job(conditions=[condition("Failed")]), pod(running={}))),
    ("being deleted", seen(being_deleted(job()), told_to_stop(pod(running={}), NOW))),
]


@pytest.mark.parametrize("view", [row[1] for row in ENDED_ALREADY], ids=[row[0] for row in ENDED_ALREADY])
def test_a_job_that_has_ended_is_not_stopped(view: Attempts) -> None:
    assert [write for write in stop(view, view.known(), Waiting.SUSPENDED) if isinstance(write, Delete)] == []


def test_attempts_end_some_day() -> None:
    last = ended(75, Retries().most + 1, message=PREEMPTED.termination_message())
    step = advance(seen(job(Retries().most + 1, conditions=[condition("Failed")]), last))
    assert step.writes == ()
    assert isinstance(step.state, Ended)
    assert step.state.reason == "RetriesExhausted"


def test_a_failure_is_not_tried_again() -> None:
    step = advance(seen(job(), ended(65, message=BAD_DATA.termination_message())))
    assert step.writes == ()
    assert isinstance(step.state, Ended)
    assert "Mend row 3" in step.state.message


def test_an_end_is_recorded_once() -> None:
    pods = ended(0, message=SUCCESS.termination_message())
    before = seen(job(), pods)
    (write,) = before.put(before.known())
    assert isinstance(write, Replace)
    assert write.manifest["data"] == {"train.1": "SUCCEEDED"}
    after = see(OWNER, [job()], [pods], read_record(write.manifest), NOW)
    assert after.put(after.known()) == ()
    assert state(after) == Ended(SUCCESS, recorded=True)


def test_a_result_that_this_release_cannot_read_stays_as_it_is_recorded() -> None:
    view = seen(job(), ended(0), results={1: '{"reason": "FromTheFuture"}'})
    assert view.known().results == view.record.results


def test_a_record_is_read_as_it_was_written() -> None:
    record = (
        Record({("train", 1): BEGUN}, resource_version="7").ended("train", 1, SUCCESS).published("heart-v1").over(NOW)
    )
    assert read_record(record_manifest("heart", OWNER.kind, OWNER.metadata, record)) == record


@pytest.mark.parametrize("attempt", ["train.one", "dream.1", "train"])
def test_a_result_of_no_attempt_is_said(attempt: str) -> None:
    annotations = {f"wardrobe.dev/result.{attempt}": SUCCESS.termination_message()}
    with pytest.raises(ValueError, match=attempt):
        read_record({"metadata": {"annotations": annotations, "resourceVersion": "7"}})


def test_a_record_that_somebody_deleted_is_written_again() -> None:
    view = seen(job(2, conditions=[condition("Complete")]), marks={})
    (write,) = view.put(view.known())
    assert isinstance(write, Replace)
    assert write.manifest["data"] == {"train.2": "SUCCEEDED"}


def test_a_child_is_what_the_owners_uid_stands_behind() -> None:
    """Labels and names are copied easily."""
    forged = job(annotations={"wardrobe.dev/result": SUCCESS.termination_message()})
    for references in ([], [{"uid": "heart-uid"}], [{"uid": "another", "controller": True}]):
        forged["metadata"]["ownerReferences"] = references
        assert seen(forged, marks={}).newest("train") is None
    by_hand = ended(0, message=SUCCESS.termination_message())
    by_hand["metadata"]["ownerReferences"] = [{"uid": "job-1", "kind": "Job"}]
    assert isinstance(state(seen(job(), by_hand)), Pending)
    named_otherwise = job()
    named_otherwise["metadata"]["name"] = "heart-train-1x"
    assert seen(named_otherwise, marks={}).there == ()


def test_how_often_and_after_which_pauses_is_the_stages_own() -> None:
    patient = Stage("train", more_memory="", retries=Retries(most=1, first_pause_seconds=100.0))
    lost = seen(job(conditions=[FAILED]), ended(75, **SKEWED))
    first = turn(lost, patient)
    assert isinstance(first, Turn)
    assert take(lost, patient, first, Made(build(first.number))).state == Pending(
        Waiting.RETRYING, "attempt 1 was lost (the node drains); attempt 2 begins in 95 s", look_again=95.0
    )
    last = turn(seen(job(2, conditions=[FAILED]), ended(75, 2, **SKEWED)), patient)
    assert not isinstance(last, Turn)
    assert isinstance(last.state, Ended)
    assert last.state.reason == "RetriesExhausted"


def test_a_pod_that_used_too_much_memory_says_what_helps_its_stage() -> None:
    killed = state(seen(job(), ended(137, reason="OOMKilled")))
    assert isinstance(killed, Ended)
    assert killed.result.message.endswith("Raise spec.pod.resources.limits.memory")
