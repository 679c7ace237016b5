"""What a pod's status says, read in one place for pods that train and pods that answer."""

from collections.abc import Iterable

from wardrobe.api.meta import Manifest

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


def has_ended(pod: Manifest) -> bool:
    """Whether no container of it runs any more, by its phase."""
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def is_ready(pod: Manifest) -> bool:
    """Whether the kubelet says that the pod takes requests."""
    return condition(pod, "Ready") is not None


def condition(pod: Manifest, kind: str) -> Manifest | None:
    """A condition that is true."""
    found = (mark for mark in _conditions(pod) if (mark["type"], mark["status"]) == (kind, "True"))
    return next(found, None)


def unschedulable(pod: Manifest) -> str | None:
    """The scheduler's words, where it finds no node."""
    marks = (mark for mark in _conditions(pod) if mark["type"] == "PodScheduled")
    return next((mark.get("message", "") for mark in marks if mark.get("reason") == "Unschedulable"), None)


def disruption(pod: Manifest) -> str | None:
    """Why the pod is about to be stopped, if it is."""
    mark = condition(pod, "DisruptionTarget") or {}
    return mark.get("message") or mark.get("reason")


def container(pod: Manifest, name: str) -> Manifest:
    """The status of a container; empty before it has one."""
    return next((found for found in containers(pod) if found["name"] == name), {})


def containers(pod: Manifest) -> list[Manifest]:
    """The statuses of its containers, without sidecars and what ends before they start."""
    found: list[Manifest] = pod.get("status", {}).get("containerStatuses", [])
    return found


def init_containers(pod: Manifest) -> list[Manifest]:
    """The statuses of its sidecars, and of what ends before the others start."""
    found: list[Manifest] = pod.get("status", {}).get("initContainerStatuses", [])
    return found


def terminated(container_status: Manifest) -> Manifest | None:
    """How it ended, where it does not run."""
    ended: Manifest | None = container_status.get("state", {}).get("terminated")
    return ended


def ended_before(container_status: Manifest) -> Manifest | None:
    """How it ended the time before, where it was started again."""
    ended: Manifest | None = container_status.get("lastState", {}).get("terminated")
    return ended


def stuck(container_status: Manifest) -> tuple[str, str] | None:
    """Reason and words of a container that cannot start."""
    waiting = container_status.get("state", {}).get("waiting", {})
    reason = waiting.get("reason")
    return (reason, waiting.get("message", "")) if reason in STUCK_REASONS else None


def number(pod: Manifest) -> int:
    """Which of its Indexed Job's pods it is, from 0."""
    return int(pod["metadata"].get("labels", {}).get("batch.kubernetes.io/job-completion-index", "0"))


def by_number(pods: Iterable[Manifest]) -> list[Manifest]:
    """A Job's pods in the order of their numbers; of those under one number the last, which replaced the others."""
    newest = {number(pod): pod for pod in pods}
    return [newest[found] for found in sorted(newest)]


def address(pod: Manifest) -> str | None:
    """Where it can be asked while it runs; an IPv6 address has no brackets."""
    return ip(pod) if pod.get("status", {}).get("phase") == "Running" else None


def ip(pod: Manifest) -> str | None:
    """Its address, whether or not it runs yet, or still."""
    found: str | None = pod.get("status", {}).get("podIP")
    return found


def why_ended(pod: Manifest) -> Manifest:
    """Reason and message of the pod itself, where whoever ended it has left any."""
    status = pod.get("status", {})
    return {name: status[name] for name in ("reason", "message") if status.get(name)}


def _conditions(pod: Manifest) -> list[Manifest]:
    found: list[Manifest] = pod.get("status", {}).get("conditions", [])
    return found
