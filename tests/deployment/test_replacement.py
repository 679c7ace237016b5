"""How engine pods give way to others where no node has room for one more; decided without a cluster."""

from typing import Any

import pytest

from wardrobe.api.meta import Manifest
from wardrobe.deployment.children.pods import Replacing
from wardrobe.deployment.replacement import Replacement, Unscheduled, lacks_room, replacement

NOW = "2026-01-01T00:10:00Z"
OLD, YOUNG = Unscheduled("new", "2026-01-01T00:09:00Z"), Unscheduled("new", "2026-01-01T00:09:20Z")


def made(
    how: Replacing, *, wanted: int = 2, updated: int = 1, pods: int = 3, observed: int = 4, available: int = 2
) -> Manifest:
    """An engine's Deployment whose controller has come so far."""
    return {
        "metadata": {"generation": 4},
        "spec": {"replicas": wanted, "strategy": {"type": "RollingUpdate", "rollingUpdate": how.value}},
        "status": {
            "observedGeneration": observed,
            "updatedReplicas": updated,
            "replicas": pods,
            "availableReplicas": available,
        },
    }


def asked(
    found: Manifest | None, *waiting: Unscheduled, pods: int = 3, announced: bool = True, restarts: bool = False
) -> Replacement:
    names = [f"engine-{number}" for number in range(pods)]
    return replacement(found, waiting, names, NOW, announced=announced, restarts=restarts)


FIRST, PLACE = Replacing.ADD_FIRST, Replacing.IN_PLACE
ROLLING = made(FIRST)
CASES: list[tuple[str, Replacement, Replacing]] = [
    ("before there is a Deployment", asked(None), FIRST),
    ("all pods are of the newest template", asked(made(FIRST, updated=2, pods=2), pods=2), FIRST),
    ("a further pod is on its way", asked(ROLLING), FIRST),
    ("a further pod finds no node yet", asked(ROLLING, YOUNG), FIRST),
    ("a further pod has found no node for long", asked(ROLLING, OLD), PLACE),
    ("it is not announced yet", asked(ROLLING, OLD, announced=False), FIRST),
    ("a pod that is not one more finds no node", asked(ROLLING, OLD, pods=2), FIRST),
    ("a roll in place goes on without one that waits", asked(made(PLACE, pods=2), pods=2), PLACE),
    ("its new pod finds no node", asked(made(PLACE, pods=2), OLD, pods=2), PLACE),
    ("it has come to its end", asked(made(PLACE, updated=2, pods=2), pods=2), FIRST),
    ("its last pod does not answer yet", asked(made(PLACE, updated=2, pods=2, available=1), pods=2), PLACE),
    ("a pod that was not replaced is away", asked(made(FIRST, updated=2, pods=2, available=1), OLD), FIRST),
    ("an engine restarts by a permit", asked(ROLLING, OLD, restarts=True), FIRST),
    ("an engine restarts, and pods are replaced in place", asked(made(PLACE, pods=2), OLD, restarts=True), FIRST),
    ("another template is applied meanwhile", asked(made(PLACE, updated=2, pods=2, observed=3), pods=2), PLACE),
    ("old pods of a roll in place are left", asked(made(PLACE, updated=2, pods=3)), PLACE),
]


@pytest.mark.parametrize(("found", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_pod_leaves_first_only_where_one_more_finds_no_node(found: Replacement, expected: Replacing) -> None:
    assert found.replacing is expected


@pytest.mark.parametrize(("waiting", "expected"), [((), None), ((YOUNG,), 20.0), ((YOUNG, OLD), 1.0)])
def test_it_is_looked_at_again_when_the_time_is_over(waiting: tuple[Unscheduled, ...], expected: float | None) -> None:
    assert asked(ROLLING, *waiting, announced=False).look_again == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"wanted": 3, "pods": 4}, "they are replaced in their places, one at a time, so that 2 of 3 answer meanwhile"),
        ({"wanted": 1, "pods": 2}, "the only one is replaced in its place, and requests get 503 with Retry-After"),
    ],
)
def test_what_is_about_to_be_fewer_is_said_before(change: dict[str, Any], expected: str) -> None:
    found = asked(made(FIRST, **change), OLD, pods=change["pods"], announced=False)
    assert found.replacing is FIRST
    assert expected in found.message
    assert asked(ROLLING, YOUNG).message == ""


AFFINITY, TAINT = "node(s) didn't match Pod's node affinity/selector", "node(s) had untolerated taint {gpu: yes}"
CORDONED, NOT_READY = "node(s) were unschedulable", "node(s) had untolerated taint {node.kubernetes.io/not-ready: }"
NO_USE, NO_VICTIMS = "Preemption is not helpful for scheduling", "No preemption victims found for incoming pod"
FULL = "Insufficient nvidia.com/gpu"


def scheduler(nodes: str, preemption: str = "") -> str:
    """Its words, as kube-scheduler 1.31 and later write them."""
    said = f"0/3 nodes are available: {nodes}."
    return f"{said} preemption: 0/3 nodes are available: {preemption}." if preemption else said


WORDS: list[tuple[str, str, bool, bool]] = [
    ("no node is meant", scheduler(f"3 {AFFINITY}", f"3 {NO_USE}"), True, False),
    ("no node is tolerated", scheduler(f"3 {TAINT}", f"3 {NO_USE}"), True, False),
    ("all are cordoned", scheduler(f"1 {CORDONED}", f"1 {NO_USE}"), True, False),
    ("all are cordoned, in few words", "0/1 nodes are available: 1 node(s) were unschedulable.", True, False),
    ("all are full", scheduler(f"2 {FULL}", f"2 {NO_VICTIMS}"), False, True),
    ("full of two things", scheduler(f"1 Insufficient cpu, 2 {FULL}", f"3 {NO_VICTIMS}"), False, True),
    ("full, and it may push nobody out", f"0/1 nodes are available: 1 {FULL}. preemption: not eligible due to "
     "preemptionPolicy=Never.", False, True),
    ("no node is so large", scheduler(f"3 {FULL}", f"3 {NO_USE}"), True, False),
    ("some are full, others are not meant", scheduler(f"1 {FULL}, 2 {AFFINITY}", f"1 {NO_VICTIMS}, 2 {NO_USE}"),
     True, True),
    ("some are full, the others' pods are placed otherwise",
     scheduler(f"1 {FULL}, 2 {AFFINITY}", f"1 {NO_VICTIMS}, 2 {NO_USE}"), False, False),
    ("some are full, others tainted", scheduler(f"1 {FULL}, 2 {TAINT}", f"1 {NO_VICTIMS}, 2 {NO_USE}"), True, True),
    ("some are full, one is cordoned", scheduler(f"1 {CORDONED}, 2 {FULL}", f"1 {NO_USE}, 2 {NO_VICTIMS}"),
     True, False),
    ("some are full, one is away", scheduler(f"1 {NOT_READY}, 2 {FULL}", f"1 {NO_USE}, 2 {NO_VICTIMS}"), True, False),
    ("a claim is missing", 'persistentvolumeclaim "models" not found', True, False),
    ("nothing is said", "", True, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "placed_alike", "expected"), [case[1:] for case in WORDS], ids=[case[0] for case in WORDS]
)
def test_a_pod_lacks_room_only_where_one_that_leaves_makes_some(words: str, placed_alike: bool, expected: bool) -> None:
    assert lacks_room(words, placed_alike=placed_alike) is expected
