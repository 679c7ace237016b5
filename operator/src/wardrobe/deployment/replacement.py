"""How engine pods give way to others: another is added first, or where no node has room for it, one leaves first.

Kept nowhere but in the Deployment's own strategy: a roll that goes on in place does so to its end, and the next one
tries to add a pod first again. That is how an operator that was away knows where it stood.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wardrobe.api.meta import Manifest
from wardrobe.deployment.children.pods import Replacing
from wardrobe.plan.conditions import seconds_between

SURGE_SECONDS = 60.0
"""How long a further pod is waited for, which no node has room for. An autoscaler needs longer for a node with GPUs
than anybody should wait for each pod of a roll; where it brings one, the pods that leave make room all the same."""


@dataclass(frozen=True)
class Unscheduled:
    """An engine pod that no node has room for, see `lacks_room`. `created` is a time as the API writes it."""

    name: str
    created: str


@dataclass(frozen=True)
class Replacement:
    """How pods are replaced now, and what is said of it."""

    replacing: Replacing
    message: str = ""
    """Where one leaves first, or is about to."""
    look_again: float | None = None
    """Seconds until that may change by the clock."""


PREEMPTION = "preemption:"
"""Begins the second half of the scheduler's words: on how many nodes it would help that other pods went."""
_NO_USE = re.compile(r"\d+ Preemption is not helpful for scheduling")
_PART = re.compile(r"(?:^|,)\s*(?=\d)")
"""Before each `2 Insufficient nvidia.com/gpu` of a list."""
_AWAY = re.compile(r"unschedulable|node\.kubernetes\.io/")
"""A node that is cordoned, not ready or under pressure: it may be the one whose pod would make room."""


def lacks_room(words: str, *, placed_alike: bool) -> bool:
    """Whether a pod would find a node if another engine pod left first, by the scheduler's words on it.

    It would not where selectors, taints or a cordon keep it from all nodes, nor where none is large enough: then pods
    that left would be missed for nothing. Where the words say both, some nodes are out of the question and others are
    full. Then it takes a pod of the same placement that has a node (`placed_alike`) to know that the room which becomes
    free is on a node that the new pod may have.
    """
    reasons, _, preemption = words.partition(PREEMPTION)
    found = [part.strip(" .") for part in _PART.split(reasons.partition(":")[2]) if part.strip(" .")]
    full = [part for part in found if "Insufficient " in part]
    others = [part for part in found if part not in full]
    if not full or _useless(preemption):
        return False
    return not others or (placed_alike and not any(_AWAY.search(part) for part in others))


def _useless(preemption: str) -> bool:
    """Whether all that is said of preemption is that it helps nowhere: no node is as large as the pod."""
    found = [part.strip(" .") for part in _PART.split(preemption.partition(":")[2]) if part.strip(" .")]
    return bool(found) and all(_NO_USE.fullmatch(part) for part in found)


def replacement(
    made: Manifest | None,
    unscheduled: Sequence[Unscheduled],
    replicas: Sequence[str],
    now: str,
    *,
    announced: bool,
    restarts: bool = False,
) -> Replacement:
    """`made` is the engine's Deployment as it is, `replicas` are the names of its living pods.

    That answers will be fewer is said before it is done: `announced` is whether the status says so. While an engine
    starts anew by a permit (`restarts`), the pod that would leave may be the one that answers in its stead.
    """
    if made is None or restarts or not (rolling(made) or _replaces_in_place(made)):
        return Replacement(Replacing.ADD_FIRST)
    wanted = made["spec"]["replicas"]
    if _replaces_in_place(made):
        if is_done(made):
            return Replacement(Replacing.ADD_FIRST)
        return Replacement(Replacing.IN_PLACE, _message(wanted))
    if len(replicas) <= wanted or not unscheduled:
        return Replacement(Replacing.ADD_FIRST)
    waited = max(seconds_between(pod.created, now) for pod in unscheduled)
    if waited < SURGE_SECONDS:
        return Replacement(Replacing.ADD_FIRST, look_again=SURGE_SECONDS - waited)
    return Replacement(Replacing.IN_PLACE if announced else Replacing.ADD_FIRST, _message(wanted), look_again=1.0)


def rolling(made: Manifest) -> bool:
    """Whether not all pods are of the newest template, or the Deployment's controller has not looked yet."""
    status, wanted = made.get("status", {}), made["spec"]["replicas"]
    seen = status.get("observedGeneration") == made["metadata"].get("generation")
    return not seen or status.get("updatedReplicas", 0) != wanted or status.get("replicas", 0) != wanted


def is_done(made: Manifest) -> bool:
    """Whether all pods are of the newest template, and there. The Deployment says it after the last pod does."""
    return not rolling(made) and bool(made["status"].get("availableReplicas", 0) >= made["spec"]["replicas"])


def _replaces_in_place(made: Manifest) -> bool:
    return bool(made["spec"]["strategy"].get("rollingUpdate", {}).get("maxSurge") == 0)


def _message(wanted: int) -> str:
    why = f"no node had room for a further engine pod within {SURGE_SECONDS:.0f} s: "
    if wanted <= 1:
        return (
            f"{why}the only one is replaced in its place, and requests get 503 with Retry-After until it answers again"
        )
    return f"{why}they are replaced in their places, one at a time, so that {wanted - 1} of {wanted} answer meanwhile"
