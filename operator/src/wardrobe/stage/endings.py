"""How a task's pod ended: from its container's message, its exit code, or what its Job still says when it is gone."""

import re
import signal
from collections.abc import Sequence

import pydantic

from wardrobe.api.children import CONTAINER
from wardrobe.api.meta import Manifest
from wardrobe.manifests import pod_status
from wardrobe.plan.conditions import seconds_between
from wardrobe_contracts.base import Task
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result

from .stage import Stage

UNREACHABLE_SECONDS = 60.0
"""After a deleted pod's grace a kubelet kills what is left within moments; one that has not said so for as long as this
is not there, or cannot be reached."""

NEVER_STARTED = {"StartError", "ContainerCannotRun"}
"""The runtime's failures before the task's program ran; the exit code, 128, is made up."""
OF_OTHERS = {ExitCode.COMMUNICATION, ExitCode.PREEMPTED}
"""How a pod ends because another one has."""
EVICTIONS = {"Evicted", "Terminated", "NodeLost", "NodeShutdown", "Preempting"}
"""Reasons that the kubelet gives a pod which it stopped for the node's sake."""


KILLED = {128 + signal.SIGKILL, 128 + signal.SIGTERM}


def living(pod: Manifest, now: str) -> bool:
    """Whether the pod's container may still run. A mark that it will be evicted is no end: it may be saving."""
    left = given_up_in(pod, now)
    return not has_ended(pod) and (left is None or left > 0)


def has_ended(pod: Manifest) -> bool:
    """Whether its kubelet has said that nothing of it runs any more."""
    return pod_status.has_ended(pod) or pod_status.terminated(_container(pod)) is not None


def given_up_in(pod: Manifest, now: str) -> float | None:
    """Seconds until a deleted pod counts as one whose node is unreachable; None where it is not deleted.

    A pod's deletionTimestamp is when its grace ends.
    """
    grace_ends = pod["metadata"].get("deletionTimestamp")
    return None if grace_ends is None else UNREACHABLE_SECONDS - seconds_between(grace_ends, now)


def from_pods(stage: Stage, pods: Sequence[Manifest]) -> Result | None:
    """What the pods of an attempt say together, in the order of their numbers; None where only the first would know.

    The first one saves what all have made: its success is the attempt's. Else it is the lowest that did not merely lose
    the others, whose containers end with the one that failed.
    """
    results = [from_pod(stage, pod) for pod in pods]
    if results[0].succeeded and pod_status.number(pods[0]) == 0:
        return results[0]
    failures = [result for result in results if not result.succeeded]
    own = (result for result in failures if result.exit_code not in OF_OTHERS)
    return next(own, failures[0] if failures else None)


def from_pod(stage: Stage, pod: Manifest) -> Result:
    """What a pod that has ended says: its container's message, else that it was disrupted, else the exit code."""
    ended = pod_status.terminated(_container(pod))
    if ended and (result := parse(ended.get("message", ""))):
        return result
    if ended is None and not pod_status.has_ended(pod):
        return preempted(stage.task, "its node has not answered since the pod was deleted")
    if ended is None or _disrupted(pod, ended):
        why = pod_status.why_ended(pod)
        return preempted(stage.task, why.get("message") or why.get("reason") or "the pod was stopped from outside")
    return _from_termination(stage, ended)


def from_job_condition(task: Task, message: str) -> Result:
    """What a Job's Failed condition still tells when its pod is gone.

    The controller writes "Container trainer for pod ns/p failed with exit code 65 matching FailJob rule at index 0"
    and "Pod ns/p has condition DisruptionTarget matching FailJob rule at index 1".
    """
    if "DisruptionTarget" in message:
        return preempted(task, "the pod was evicted or its node went away")
    if found := re.search(r"failed with exit code (\d+)", message):
        return _from_exit_code(task, int(found.group(1)))
    return ending(task, ExitCode.UNKNOWN, Reason.UNKNOWN, f"the pod is gone and its Job says only: {message}")


def from_record(task: Task, text: str) -> Result:
    """What was recorded."""
    return parse(text) or ending(task, ExitCode.UNKNOWN, Reason.UNKNOWN, _OTHER_RELEASE.format(task))


def preempted(task: Task, message: str) -> Result:
    """Stopped from outside."""
    return ending(task, ExitCode.PREEMPTED, Reason.TERMINATED, message)


def ending(task: Task, code: ExitCode, reason: Reason, message: str) -> Result:
    """A result in the operator's words, where the task left none."""
    return Result.failure(task, code, reason, message)


def parse(text: str) -> Result | None:
    """A result as a task writes it, or None."""
    try:
        return Result.model_validate_json(text)
    except pydantic.ValidationError:
        return None


def _container(pod: Manifest) -> Manifest:
    return pod_status.container(pod, CONTAINER)


_OTHER_RELEASE = (
    "{} left a result that this release of the operator cannot read; run operator and trainer of one release"
)


def _disrupted(pod: Manifest, ended: Manifest) -> bool:
    """Whether the pod was evicted, preempted or lost: the kubelet then writes an exit code that is not the task's."""
    marked = pod_status.condition(pod, "DisruptionTarget") is not None
    evicted = pod_status.why_ended(pod).get("reason") in EVICTIONS
    lost_sight = ended.get("reason") == "ContainerStatusUnknown"
    return marked or evicted or lost_sight or _told_to_stop(pod, ended)


def _told_to_stop(pod: Manifest, ended: Manifest) -> bool:
    """Whether it was ended by the signals that a deleted pod gets, and has said nothing itself."""
    deleted = pod["metadata"].get("deletionTimestamp") is not None
    return deleted and ended["exitCode"] in KILLED and ended.get("reason") != "OOMKilled"


def _from_termination(stage: Stage, ended: Manifest) -> Result:
    task = stage.task
    if ended.get("reason") == "OOMKilled":
        message = f"the container was killed by the kernel: it used more memory than its limit. {stage.more_memory}"
        return ending(task, ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, message)
    if ended.get("reason") in NEVER_STARTED:
        return preempted(task, f"the node could not start the container: {ended.get('message', 'it says no more')}")
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
    whose = task in reason.ends or known.infrastructure  # a code that the task never ends with says nothing
    return ending(task, known, reason if whose else Reason.UNKNOWN, message)
