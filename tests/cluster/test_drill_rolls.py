"""Pods are replaced while all of an extended resource is taken: in their places, and what it costs is said before."""

import time
from collections.abc import Iterator

import pytest
from support import deployed
from support.deployed import NAME, Hospital
from support.node_namespaces import Trained
from support.served_by import ROUTED, Serve, Ward, served_by
from support.traffic import flowing
from support.waiting import eventually

from devcluster import node
from wardrobe_contracts.engines import EngineType

pytestmark = [pytest.mark.node, pytest.mark.drill, pytest.mark.gauntlet]


@pytest.fixture(scope="module")
def ward(serve: Serve, trained: Trained) -> Iterator[Ward]:
    """Two engines with a GPU each, of the node's two."""
    with served_by(EngineType.TGI, 2, serve, trained) as made:
        yield made


def change_resources(hospital: Hospital, cpu: str) -> None:
    """Other pods are asked for."""
    hospital.patch({"engine": {"pod": {"resources": {"requests": {"cpu": cpu}}}}})


def announced(hospital: Hospital) -> str:
    """Wait until it is said that pods are replaced in their places; returns the words."""

    def said() -> str | None:
        condition = hospital.namespace.condition("AdapterDeployment", NAME, "PodsStarted")
        return str(condition["message"]) if condition.get("reason") == "ReplacingInPlace" else None

    return eventually(said, what=lambda: str(hospital.status()), every=0.05)


def engines(hospital: Hospital) -> set[str]:
    """Uids of the engine pods that stay."""
    return set(hospital.restarts("engine"))


def replaced(hospital: Hospital, before: set[str], count: int) -> None:
    """Wait for other pods, and nothing but these."""

    def done() -> bool:
        now = engines(hospital)
        return len(now) == count == hospital.engines_ready() and not now & before

    eventually(done, within=600, what=lambda: str(hospital.status()))
    hospital.is_ready()


def test_two_replicas_are_replaced_one_at_a_time_and_nobody_is_refused(ward: Ward) -> None:
    hospital = ward.hospital
    before = engines(hospital)
    with flowing(ward.traffic()) as traffic:
        change_resources(hospital, "110m")
        message = announced(hospital)
        replaced(hospital, before, 2)
        answered = len(traffic.answers)
        eventually(lambda: len(traffic.answers) >= answered + 12, what="answers")
    print(f"{len(traffic.answers)} answers meanwhile; said: {message}")  # noqa: T201
    assert "one at a time, so that 1 of 2 answer meanwhile" in message
    assert traffic.failures() == []
    assert deployed.names(traffic.answers) == ROUTED


def test_the_gap_of_an_only_replica_is_said_before_and_told_to_who_asks(ward: Ward) -> None:
    hospital = ward.hospital
    hospital.patch({"replicas": 1})
    eventually(lambda: len(engines(hospital)) == 1, what="one engine")
    hospital.is_ready()
    node.set_gpus(node.instance(), 1)
    before = engines(hospital)
    with flowing(ward.traffic()) as traffic:
        change_resources(hospital, "120m")
        message, known = announced(hospital), time.monotonic()
        replaced(hospital, before, 1)
        answered = time.monotonic()
        eventually(lambda: len(traffic.since(answered)) >= 12, what="answers")
    lost = traffic.failures()
    print(f"{len(lost)} of {len(traffic.answers)} refused; said: {message}")  # noqa: T201
    assert "the only one is replaced in its place, and requests get 503 with Retry-After" in message
    assert lost, "there is a gap"
    assert [answer for answer in lost if answer.ended < known] == []
    assert [answer for answer in lost if answer.status != 503 or not answer.retry_after] == []
    assert deployed.names(answer for answer in traffic.answers if answer.good) == ROUTED
