"""What Kueue says of a Job that it holds: it keeps a Workload for each Job that names a queue."""

from collections.abc import Iterable
from dataclasses import dataclass

from wardrobe.api.children import QUEUE_LABEL, WORKLOAD_JOB_LABEL, controlled_by
from wardrobe.api.meta import Manifest
from wardrobe.api.reasons import Waiting
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS

UNUSABLE = "Inadmissible"
"""Kueue's reason where the LocalQueue, or the ClusterQueue behind it, is not there or not active."""


PREEMPTED = "Preempted"
"""Kueue's reason where somebody else needs the room."""


@dataclass(frozen=True)
class NotAdmitted:
    """Why a Job has not begun."""

    reason: Waiting
    message: str
    look_again: float | None = None
    """Seconds until Kueue may say something else: Workloads are not watched, as being let in changes the Job."""


def selector(job: Manifest) -> str | None:
    """By which labels the Job's Workload is found; None for a Job that Kueue does not hold."""
    metadata = job["metadata"]
    if not job["spec"].get("suspend") or QUEUE_LABEL not in metadata.get("labels", {}):
        return None
    return f"{WORKLOAD_JOB_LABEL}={metadata['uid']}"


def took_back(job: Manifest, workloads: Iterable[Manifest]) -> bool:
    """Whether Kueue had let the suspended Job in before. It takes away the start time of a Job that it preempts."""
    conditions = _conditions(job, workloads)
    admitted, evicted = (conditions.get(kind, {}).get("status") for kind in ("Admitted", "Evicted"))
    return admitted == "False" or (admitted == "True" and evicted == "True")


def gave_way(job: Manifest, workloads: Iterable[Manifest]) -> bool:
    """Whether Kueue took the Job's room for another. It evicts for other reasons, too, which may be the run's own."""
    evicted = _conditions(job, workloads).get("Evicted", {})
    return evicted.get("status") == "True" and evicted.get("reason") == PREEMPTED


def not_admitted(job: Manifest, workloads: Iterable[Manifest]) -> NotAdmitted:
    """A suspended Job that has not begun, in Kueue's words where it has any."""
    metadata = job["metadata"]
    name, queue = metadata["name"], metadata.get("labels", {}).get(QUEUE_LABEL)
    if queue is None:
        return NotAdmitted(Waiting.QUEUED, _suspended(name))
    quota = _conditions(job, workloads).get("QuotaReserved")
    if quota is None:
        return NotAdmitted(Waiting.QUEUED, _suspended(name), LOOK_AGAIN_SECONDS)
    words = quota["message"].rstrip(". ")
    if quota["reason"] == UNUSABLE:
        message = (
            f"label {QUEUE_LABEL} is {queue!r}, and Kueue cannot let Job {name} in: {words}. The label must name a "
            f"LocalQueue of namespace {metadata['namespace']!r}, active like its ClusterQueue. Create it, or put "
            "another's name on run and Job; the run goes on by itself"
        )
        return NotAdmitted(Waiting.QUEUE_UNUSABLE, message, LOOK_AGAIN_SECONDS)
    message = f"Job {name} is suspended until Kueue lets it in through queue {queue!r}: {words}"
    return NotAdmitted(Waiting.QUEUED, message)


def _suspended(name: str) -> str:
    return f"Job {name} is suspended; it begins when a queue such as Kueue lets it in"


def _conditions(job: Manifest, workloads: Iterable[Manifest]) -> dict[str, Manifest]:
    """Of the Job's own Workload, by type."""
    own = (found for found in workloads if controlled_by(found, job["metadata"]["uid"]))
    conditions = next(own, {}).get("status", {}).get("conditions", [])
    return {found["type"]: found for found in conditions}
