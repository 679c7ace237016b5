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
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return next((found for found in statuses if found["name"] == name), {})


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
    status = pod.get("status", {})
    return status.get("podIP") if status.get("phase") == "Running" else None


def _conditions(pod: Manifest) -> list[Manifest]:
    found: list[Manifest] = pod.get("status", {}).get("conditions", [])
    return found
