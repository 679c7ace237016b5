"""What keeps an engine or router pod from starting, read from its manifest: what it is, and what to do about it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wardrobe.api.children import PART_LABEL
from wardrobe.api.meta import ConditionStatus, Manifest
from wardrobe.api.reasons import Waiting
from wardrobe.deployment.children.engine import AGENT, BASE_CHECK, WRAPPER
from wardrobe.manifests import pod_status

IMAGE_REASONS = {"ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName"}
CRASHES = 2
"""Restarts after which a container counts as one that keeps ending, also while it runs for a moment."""
WORDS_LIMIT = 300
BEFORE = {WRAPPER, BASE_CHECK}
"""Containers that end well before the engine starts."""
OWN = {AGENT, *BEFORE}
"""Containers whose resources nobody can set."""


@dataclass(frozen=True)
class Trouble:
    """Of one pod, or of a Deployment whose pods are refused. `status` is that of the condition."""

    status: ConditionStatus
    reason: Waiting
    message: str


def of_pod(pod: Manifest) -> Trouble | None:
    """The first trouble of a pod that is not Ready; None for one that is, or that is merely on its way."""
    if pod_status.is_ready(pod):
        return None
    name, field = pod["metadata"]["name"], f"spec.{pod['metadata']['labels'][PART_LABEL]}.pod"
    if (words := pod_status.unschedulable(pod)) is not None:
        message = (
            f"no node fits pod {name}: {words} Free or add a node, or change {field}.resources, "
            "nodeSelector or tolerations"
        )
        return Trouble("Unknown", Waiting.UNSCHEDULABLE, message)
    return next(_of_containers(name, field, pod), None)


def of_deployment(made: Manifest) -> Trouble | None:
    """Whether the API refuses a Deployment's pods: a quota, or a policy of the namespace."""
    conditions: list[Manifest] = made.get("status", {}).get("conditions", [])
    failed = next(
        (found for found in conditions if (found["type"], found["status"]) == ("ReplicaFailure", "True")), None
    )
    if failed is None:
        return None
    message = f"the API refuses pods of Deployment {made['metadata']['name']}: {failed.get('message', '')}"
    return Trouble("Unknown", Waiting.API_REFUSED, message)


def worst(troubles: Iterable[Trouble]) -> Trouble | None:
    """The one to say first: what waiting does not mend comes before what it may."""
    return min(troubles, key=lambda found: (found.status != "False", found.message), default=None)


def _of_containers(name: str, field: str, pod: Manifest) -> Iterator[Trouble]:
    """Sidecars first: the agent may merely wait for its engine."""
    for container in (*pod_status.init_containers(pod), *pod_status.containers(pod)):
        ended = pod_status.terminated(container)
        if container["name"] in BEFORE and ended is not None and ended["exitCode"] == 0:
            continue
        if found := _stuck(name, field, container) or _ending(name, field, container):
            yield found


def _stuck(pod: str, field: str, container: Manifest) -> Trouble | None:
    stuck = pod_status.stuck(container)
    if stuck is None:
        return None
    reason, words = stuck
    mend = f"what the message names must be there, or be changed in {field}"
    if reason in IMAGE_REASONS:
        mend = f"the image is a setting of the operator, and {field}.imagePullSecrets open its registry"
    why = f"{reason}: {words or 'the kubelet says no more'}"
    message = f"container {container['name']} of pod {pod} cannot start: {why}. To mend it: {mend}"
    return Trouble("Unknown", Waiting.POD_STUCK, message)


def _ending(pod: str, field: str, container: Manifest) -> Trouble | None:
    """A container that was started again and again; the pod's own word tells that it never came to be Ready."""
    state, name = container.get("state", {}), container["name"]
    last = pod_status.terminated(container) or pod_status.ended_before(container)
    if not last:
        return None
    if last.get("reason") == "OOMKilled":
        own = "The limit is Wardrobe's own" if name in OWN else f"Raise {field}.resources.limits.memory"
        message = f"container {name} of pod {pod} was killed by the kernel: it used more memory than its limit. {own}"
        return Trouble("False", Waiting.POD_OUT_OF_MEMORY, message)
    if container.get("restartCount", 0) < CRASHES and state.get("waiting", {}).get("reason") != "CrashLoopBackOff":
        return None
    message = (
        f"container {name} of pod {pod} keeps ending, last with exit code {last['exitCode']}{_last_words(last)}. "
        f"See `kubectl logs {pod} --container {name} --previous`{_settings(name, field)}"
    )
    return Trouble("False", Waiting.POD_CRASHING, message)


def _settings(container: str, field: str) -> str:
    """Where what it needs is written; the others do their work by what the operator tells them."""
    return "" if container in BEFORE else f"; its settings are in {field}"


def _last_words(ended: Manifest) -> str:
    """The last line that the container wrote."""
    lines = ended.get("message", "").strip().splitlines()
    return f" ({lines[-1][:WORDS_LIMIT]})" if lines else ""
