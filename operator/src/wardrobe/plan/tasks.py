"""How far a task is, read from its Job and pod; and what its next step is.

A task is one program of the trainer image, run in a Job of one pod. Job and pod are read, never remembered:
the pod's termination message says how it ended, the Job's annotation keeps that, and the exit code in the Job's
condition is what remains when both are gone.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pydantic

from wardrobe.api.children import CONTAINER, NUMBER_LABEL, RESULT_ANNOTATION, TASK_LABEL
from wardrobe.api.meta import Key, Manifest
from wardrobe.api.reasons import Refused, Waiting
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result, Task

from .conditions import seconds_between
from .plan import Annotate, Apply, Delete, Write

RETRIES = 10
"""Attempts that infrastructure may cost a task before it counts as failed."""

FIRST_PAUSE_SECONDS = 10.0
LAST_PAUSE_SECONDS = 600.0

NEVER_STARTED = {"StartError", "ContainerCannotRun"}
"""The runtime's failures before the task's program ran; the exit code, 128, is made up."""
EVICTIONS = {"Evicted", "Terminated", "NodeLost", "NodeShutdown", "Preempting"}
"""Reasons that the kubelet gives a pod which it stopped for the node's sake."""

STUCK_REASONS = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
}
"""Waiting reasons of a container that no further waiting cures by itself."""


@dataclass(frozen=True)
class TaskView:
    """The newest Job of a task, with its pod if there still is one."""

    task: Task
    number: int
    job: Manifest
    pod: Manifest | None

    @property
    def key(self) -> Key:
        """The Job."""
        return Key("Job", self.job["metadata"]["namespace"], self.job["metadata"]["name"])


@dataclass(frozen=True)
class Pending:
    """It goes on."""

    reason: str
    message: str
    pod_ip: str | None = None
    look_again: float | None = None
    """Seconds until something is due that no watch tells."""


@dataclass(frozen=True)
class Ended:
    """The task has said how it ended."""

    result: Result
    recorded: bool
    """Whether the Job's annotation has it already."""
    exhausted: bool = False
    """Whether the last of all retries ended so."""


@dataclass(frozen=True)
class Lost:
    """The Job succeeded, and its result is gone with its pod; the task keeps it in the store and can say it again."""


TaskState = Pending | Ended | Lost


@dataclass(frozen=True)
class Step:
    """A task's state, and the writes that carry it on."""

    state: Pending | Ended
    writes: tuple[Write, ...] = ()


def view(task: Task, jobs: Iterable[Manifest], pods: Iterable[Manifest]) -> TaskView | None:
    """The newest Job of `task` among a run's Jobs; Jobs that are being deleted do not count."""
    mine = [
        job
        for job in jobs
        if job["metadata"]["labels"].get(TASK_LABEL) == task and not job["metadata"].get("deletionTimestamp")
    ]
    if not mine:
        return None
    job = max(mine, key=_number)
    uid = job["metadata"]["uid"]
    owned = (pod for pod in pods if any(ref["uid"] == uid for ref in pod["metadata"].get("ownerReferences", [])))
    return TaskView(task, _number(job), job, next(owned, None))


def _number(job: Manifest) -> int:
    return int(job["metadata"]["labels"][NUMBER_LABEL])


def state(seen: TaskView) -> TaskState:
    """How far the task is. Pure: everything is in the two manifests."""
    if text := seen.job["metadata"].get("annotations", {}).get(RESULT_ANNOTATION):
        return Ended(_parse(text) or _unreadable(seen.task), recorded=True)
    if (said := _said(seen)) is not None:
        return Ended(said, recorded=False)
    if _job_condition(seen.job, "Complete"):
        return Lost()
    if failed := _job_condition(seen.job, "Failed"):
        return Ended(from_job_condition(seen.task, failed.get("message", "")), recorded=False)
    if seen.job["spec"].get("suspend"):
        message = "somebody suspended the attempt's Job"
        return Ended(_ending(seen.task, ExitCode.PREEMPTED, Reason.TERMINATED, message), recorded=False)
    return _pending(seen)


def unrecorded(jobs: Iterable[Manifest]) -> bool:
    """Whether any Job's end may still have to be read from its pod."""
    return any(RESULT_ANNOTATION not in job["metadata"].get("annotations", {}) for job in jobs)


def record(seen: TaskView | None) -> tuple[Write, ...]:
    """The first write after a container's end: its result goes to the Job, before anything is built on it."""
    if seen is None:
        return ()
    now = state(seen)
    if not isinstance(now, Ended) or now.recorded:
        return ()
    return (Annotate(seen.key, {RESULT_ANNOTATION: now.result.termination_message()}),)


def advance(seen: TaskView | None, build: Callable[[int], Manifest], now: str) -> Step:
    """Carry a task on: make its Job, make it again where infrastructure took it, or report how it ended.

    `build` makes the Job of attempt n (from 1); `now` is as the API writes times. Recording results is `record`'s.
    """
    if seen is None:
        return _make(build(1))
    stands = state(seen)
    if isinstance(stands, Pending):
        return Step(stands)
    if isinstance(stands, Lost):
        message = "the Job's pod went before its result was read; it is asked again"
        return Step(Pending(Waiting.RETRYING, message), (Delete(seen.key, seen.job["metadata"]["uid"]),))
    if not stands.result.exit_code.infrastructure:
        return Step(stands)
    if seen.number > RETRIES:
        message = f"{seen.number} attempts were lost to the infrastructure; the last: {stands.result.message}"
        last = stands.result.model_copy(update={"message": message, "problem": None})
        return Step(Ended(last, stands.recorded, exhausted=True))
    return _again(seen, stands.result, build, now)


def _again(seen: TaskView, lost: Result, build: Callable[[int], Manifest], now: str) -> Step:
    """The next attempt, after a pause that doubles: what took the last one may take a while to be mended."""
    message = f"attempt {seen.number} was lost ({lost.message}); attempt {seen.number + 1}"
    left = pause(seen.number) - _seconds_since_end(seen, now)
    if left > 0:
        return Step(Pending(Waiting.RETRYING, f"{message} begins in {left:.0f} s", look_again=left))
    return Step(Pending(Waiting.RETRYING, f"{message} is being made"), (Apply(build(seen.number + 1)),))


def pause(number: int) -> float:
    """Seconds between the end of attempt `number` and the next: 10, 20, 40… at most 600."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** (number - 1), LAST_PAUSE_SECONDS)


def wants_job(seen: TaskView | None) -> bool:
    """Whether `advance` would make a Job."""
    if seen is None:
        return True
    now = state(seen)
    return isinstance(now, Ended) and now.result.exit_code.infrastructure and seen.number <= RETRIES


def failure_reason(ended: Ended) -> str:
    """The condition reason of a failed task: its own, or that all retries were used up."""
    return Refused.RETRIES_EXHAUSTED if ended.exhausted else ended.result.reason


def failure_message(result: Result) -> str:
    """What a person reads: the problem in its four parts where there is one."""
    return str(result.problem) if result.problem else result.message


def from_job_condition(task: Task, message: str) -> Result:
    """What a Job's Failed condition still tells when its pod is gone.

    The controller writes "Container trainer for pod ns/p failed with exit code 65 matching FailJob rule at index 0"
    and "Pod ns/p has condition DisruptionTarget matching FailJob rule at index 1".
    """
    if "DisruptionTarget" in message:
        return _ending(task, ExitCode.PREEMPTED, Reason.TERMINATED, "the pod was evicted or its node went away")
    if found := re.search(r"failed with exit code (\d+)", message):
        return _from_exit_code(task, int(found.group(1)))
    return _ending(task, ExitCode.UNKNOWN, Reason.UNKNOWN, f"the pod is gone and its Job says only: {message}")


def _said(seen: TaskView) -> Result | None:
    """What the pod says: its container's message, else that it was disrupted, else the container's exit code."""
    if seen.pod is None:
        return None
    status = seen.pod.get("status", {})
    ended = _container(status).get("state", {}).get("terminated")
    if ended and (result := _parse(ended.get("message", ""))):
        return result
    if _disrupted(status, ended or {}) or (status.get("phase") == "Failed" and not ended):
        text = status.get("message") or status.get("reason") or "the pod was stopped from outside"
        return _ending(seen.task, ExitCode.PREEMPTED, Reason.TERMINATED, text)
    return _from_termination(seen.task, ended) if ended else None


def _disrupted(status: Manifest, ended: Manifest) -> bool:
    """Whether the pod was evicted, preempted or lost: the kubelet then writes an exit code that is not the task's."""
    marked = any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in status.get("conditions", []))
    return marked or ended.get("reason") == "ContainerStatusUnknown" or status.get("reason") in EVICTIONS


def _seconds_since_end(seen: TaskView, now: str) -> float:
    """Since the container ended, or the Job failed; for ever where neither says when."""
    container = _container(seen.pod.get("status", {})) if seen.pod else {}
    failed = _job_condition(seen.job, "Failed") or {}
    ended = container.get("state", {}).get("terminated", {}).get("finishedAt") or failed.get("lastTransitionTime")
    if ended is None:
        return float("inf")
    return seconds_between(ended, now)


def _from_termination(task: Task, ended: Manifest) -> Result:
    if ended.get("reason") == "OOMKilled":
        own = "Raise spec.pod.resources.limits.memory" if task in {"train", "assess"} else "The limit is Wardrobe's own"
        message = f"the container was killed by the kernel: it used more memory than its limit. {own}"
        return _ending(task, ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, message)
    if ended.get("reason") in NEVER_STARTED:
        message = f"the node could not start the container: {ended.get('message', 'it says no more')}"
        return _ending(task, ExitCode.PREEMPTED, Reason.TERMINATED, message)
    return _from_exit_code(task, ended["exitCode"])


def _from_exit_code(task: Task, code: int) -> Result:
    known = ExitCode(code) if code in set(ExitCode) and code else ExitCode.UNKNOWN
    reason = {
        ExitCode.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
        ExitCode.DIVERGED: Reason.DIVERGED,
        ExitCode.STORE: Reason.STORE_FAILED,
        ExitCode.PREEMPTED: Reason.TERMINATED,
    }.get(known, Reason.UNKNOWN)
    message = f"{task} ended with exit code {code} and left no message; look at the pod's log"
    return _ending(task, known, reason, message)


def _unreadable(task: Task) -> Result:
    message = (
        f"{task} left a result that this version of the operator cannot read; run operator and trainer of one version"
    )
    return _ending(task, ExitCode.UNKNOWN, Reason.UNKNOWN, message)


def _ending(task: Task, code: ExitCode, reason: Reason, message: str) -> Result:
    return Result(task=task, exit_code=code, reason=reason, message=message)


def _parse(text: str) -> Result | None:
    try:
        return Result.model_validate_json(text)
    except pydantic.ValidationError:
        return None


def _job_condition(job: Manifest, kind: str) -> Manifest | None:
    found = (c for c in job.get("status", {}).get("conditions", []) if c["type"] == kind and c["status"] == "True")
    return next(found, None)


def _container(pod_status: Manifest) -> Manifest:
    found = (c for c in pod_status.get("containerStatuses", []) if c["name"] == CONTAINER)
    return next(found, {})


def _make(job: Manifest) -> Step:
    return Step(Pending(Waiting.RUNNING, f"Job {job['metadata']['name']}"), (Apply(job),))


def _pending(seen: TaskView) -> Pending:
    status = seen.pod.get("status", {}) if seen.pod else {}
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return Pending(Waiting.UNSCHEDULABLE, _unschedulable(condition.get("message", "")))
    waiting = _container(status).get("state", {}).get("waiting", {})
    if waiting.get("reason") in STUCK_REASONS:
        return Pending(Waiting.POD_STUCK, f"{waiting['reason']}: {waiting.get('message', '')}")
    address = status.get("podIP") if status.get("phase") == "Running" else None
    return Pending(Waiting.RUNNING, f"Job {seen.key.name}", address)


def _unschedulable(message: str) -> str:
    return (
        f"no node fits the pod: {message} Free or add a node, or write another run whose spec.pod.resources, "
        "nodeSelector and tolerations fit one"
    )
