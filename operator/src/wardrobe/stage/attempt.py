"""One attempt of a stage, and how it stands: read from its Job and all its pods, never remembered.

The pod's termination message says how it ended, the record keeps that, and the exit code in the Job's condition is what
remains when both are gone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wardrobe.api.children import CONTAINER, RESULT_ANNOTATION
from wardrobe.api.meta import Key, Manifest
from wardrobe.api.reasons import Failure, Waiting
from wardrobe.manifests import pod_status
from wardrobe_contracts.base import Task
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result

from . import endings, queues
from .record import BEGUN, STOPS, Record
from .stage import Stage


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
    """Its program has said how it ended."""

    result: Result
    recorded: bool
    """Whether the record has what can be known of it."""
    failure: Failure | None = None
    """Why the stage has failed with it, where that is not the attempt's own reason."""

    @property
    def reason(self) -> str:
        """The condition reason of a failure: its own, or the stage's, such as that all retries were used up."""
        return self.failure or self.result.reason

    @property
    def message(self) -> str:
        """What a person reads: the problem in its four parts where there is one."""
        return str(self.result.problem) if self.result.problem else self.result.message


@dataclass(frozen=True)
class Lost:
    """The Job succeeded, and its result is gone with its pod; the task keeps it in the store and can say it again."""


State = Pending | Ended | Lost


@dataclass(frozen=True)
class Attempt:
    """One try: how it stands, and its Job and pods where they are there."""

    task: Task
    number: int
    key: Key
    """Its Job's."""
    state: State
    job: Manifest | None = None
    pods: tuple[Manifest, ...] = ()
    gave_way: bool = False
    """Whether a queue has suspended its Job for others."""

    @property
    def uid(self) -> str:
        """The Job's; empty where there is none."""
        return str(self.job["metadata"]["uid"]) if self.job else ""

    @property
    def suspended(self) -> bool:
        """Whether the Job starts no pods for now."""
        return bool(self.job and self.job["spec"].get("suspend"))

    @property
    def could_start(self) -> bool:
        """Whether the Job may still start a pod: it stays, has no end, and no success that would end it.

        Of several pods the first's success is the attempt's, and the Job's only with the others'.
        """
        if self.job is None or self.deleting or self.condition("Complete") or self.condition("Failed"):
            return False
        wanted = self.job["spec"].get("completions", 1)
        short = wanted > 1 and len(pod_status.by_number(self.pods)) < wanted
        return short or not (isinstance(self.state, Ended) and self.state.result.succeeded)

    @property
    def deleting(self) -> bool:
        """Whether the Job is on its way out."""
        return bool(self.job and self.job["metadata"].get("deletionTimestamp"))

    @property
    def started(self) -> str | None:
        """Since when the Job may run, as its controller says."""
        return self.job.get("status", {}).get("startTime") if self.job else None

    def annotation(self, name: str) -> str | None:
        """Of the Job."""
        value: str | None = self.job["metadata"].get("annotations", {}).get(name) if self.job else None
        return value

    def condition(self, kind: str) -> Manifest | None:
        """Of the Job, where it is true."""
        return job_condition(self.job, kind) if self.job else None


def of_job(
    stage: Stage,
    number: int,
    job: Manifest,
    pods: tuple[Manifest, ...],
    now: str,
    *,
    recorded: str | None,
    workloads: Sequence[Manifest] = (),
) -> Attempt:
    """An attempt whose Job is there. What is recorded comes first, then what its container may still say."""
    key = Key("Job", job["metadata"]["namespace"], job["metadata"]["name"])
    text = recorded or job["metadata"].get("annotations", {}).get(RESULT_ANNOTATION)
    state = _state(stage, job, pods, text, now) or _by_job(stage.task, job, workloads)
    return Attempt(stage.task, number, key, state, job, pods, queues.gave_way(job, workloads))


def of_record(task: Task, number: int, key: Key, record: Record) -> Attempt:
    """An attempt that only the record knows of."""
    text = record.results.get((task, number))
    mark = record.marks[task, number]
    state = Ended(endings.from_record(task, text), recorded=True) if text else _without_result(task, key.name, mark)
    return Attempt(task, number, key, state)


def job_condition(job: Manifest, kind: str) -> Manifest | None:
    """A Job's condition, where it is true."""
    found = (c for c in job.get("status", {}).get("conditions", []) if c["type"] == kind and c["status"] == "True")
    return next(found, None)


def _without_result(task: Task, name: str, mark: str) -> State:
    if mark == ExitCode.SUCCEEDED.name:
        return Lost()
    if mark in STOPS:
        return Ended(endings.preempted(task, f"its Job {name} was stopped ({mark})"), recorded=True)
    if mark in {BEGUN, ExitCode.PREEMPTED.name}:
        return Ended(endings.preempted(task, f"its Job {name} was deleted"), recorded=True)
    message = f"Job {name} ended as {mark}, and was deleted with what it had to say"
    return Ended(endings.ending(task, ExitCode[mark], Reason.UNKNOWN, message), recorded=True)


def _state(stage: Stage, job: Manifest, pods: tuple[Manifest, ...], recorded: str | None, now: str) -> State | None:
    """None where only the Job can tell. While it is being deleted, its pods may still save, and then say so."""
    name, deleting = job["metadata"]["name"], job["metadata"].get("deletionTimestamp")
    if recorded:
        return Ended(endings.from_record(stage.task, recorded), recorded=True)
    running = [pod for pod in pods if endings.living(pod, now)]
    if running and deleting:
        left = min((left for pod in running if (left := endings.given_up_in(pod, now)) is not None), default=None)
        return Pending(Waiting.RETRYING, f"Job {name} is being deleted; its pod may still save", look_again=left)
    if running:
        return _pending(name, pod_status.by_number(running), now)
    result = endings.from_pods(stage, pod_status.by_number(pods)) if pods else None
    if result:
        return Ended(result, recorded=False)
    if pods and not job_condition(job, "Failed"):  # with the first one gone, the others' success is no result
        return Lost()
    return None


def _by_job(task: Task, job: Manifest, workloads: Sequence[Manifest]) -> State:
    name = job["metadata"]["name"]
    if job_condition(job, "Complete"):
        return Lost()
    if failed := job_condition(job, "Failed"):
        return Ended(endings.from_job_condition(task, failed.get("message", "")), recorded=False)
    if job["metadata"].get("deletionTimestamp"):
        return Pending(Waiting.RETRYING, f"Job {name} is being deleted")
    if not job["spec"].get("suspend"):
        return Pending(Waiting.RUNNING, f"Job {name}")
    if job.get("status", {}).get("startTime") or queues.took_back(job, workloads):
        return Ended(endings.preempted(task, "its Job was suspended after it had begun"), recorded=False)
    waiting = queues.not_admitted(job, workloads)
    return Pending(waiting.reason, waiting.message, look_again=waiting.look_again)


def _pending(job: str, pods: list[Manifest], now: str) -> Pending:
    """What keeps any of its pods from running; else how the first goes on, which speaks for all."""
    for found in pods:
        if (words := pod_status.unschedulable(found)) is not None:
            return Pending(Waiting.UNSCHEDULABLE, _unschedulable(words))
        if stuck := pod_status.stuck(pod_status.container(found, CONTAINER)):
            return Pending(Waiting.POD_STUCK, ": ".join(stuck))
    pod = pods[0]
    running_on = Pending(Waiting.RUNNING, f"Job {job}", pod_status.address(pod), endings.given_up_in(pod, now))
    leaving = "it is being deleted" if pod["metadata"].get("deletionTimestamp") else None
    why = pod_status.disruption(pod) or leaving
    return (
        replace(running_on, message=f"Job {job}: its pod is told to stop ({why}), and may still save")
        if why
        else running_on
    )


def _unschedulable(message: str) -> str:
    return (
        f"no node fits the pod: {message} Free or add a node, or write another run whose spec.pod.resources, "
        "nodeSelector and tolerations fit one"
    )
