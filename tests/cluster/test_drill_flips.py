"""Fifty flips on each engine, to and fro, under traffic: every answer is by an adapter that was routed meanwhile."""

from collections.abc import Iterator
from statistics import median

import pytest
from support import deployed
from support.deployed import Timeline
from support.node_namespaces import Trained
from support.served_by import Serve, Ward, served_by
from support.traffic import Traffic, flowing
from support.waiting import eventually

from wardrobe_contracts.engines import EngineType

pytestmark = [pytest.mark.node, pytest.mark.drill, pytest.mark.gauntlet]

FLIPS = 50
REPLICAS = {EngineType.TRANSFORMERS: 2, EngineType.TGI: 2, EngineType.VLLM: 1}
"""Of the real vLLM a second one has no room beside all else on the smallest machine that runs the gauntlet."""


@pytest.fixture(scope="module", params=list(REPLICAS))
def ward(request: pytest.FixtureRequest, serve: Serve, trained: Trained) -> Iterator[Ward]:
    """With both of cardiology's adapters loaded, as they are after the first flip."""
    with served_by(request.param, REPLICAS[request.param], serve, trained) as made:
        made.hospital.flip("cardiology", "cardiology-v2")
        made.hospital.is_ready()
        made.hospital.flip("cardiology", "cardiology-v1")
        made.hospital.is_ready()
        yield made


def answered(traffic: Traffic, moment: float) -> None:
    """Wait for cardiology to be answered that asked after a moment."""
    eventually(
        lambda: any(answer.department == "cardiology" for answer in traffic.since(moment)), what="an answer after it"
    )


def test_no_answer_of_fifty_flips_is_wrong_or_missing(ward: Ward) -> None:
    hospital = ward.hospital
    restarts = hospital.restarts()
    timeline = Timeline("cardiology", "cardiology-v1")
    with flowing(ward.traffic()) as traffic:
        for number in range(FLIPS):
            timeline.flips.append(hospital.flip("cardiology", ("cardiology-v2", "cardiology-v1")[number % 2]))
            answered(traffic, timeline.flips[-1].applied)
    took = [flip.applied - flip.asked for flip in timeline.flips]
    print(f"{ward.engine}: {len(traffic.answers)} answers, a flip in {median(took):.2f} s, {max(took):.2f} at most")  # noqa: T201
    assert traffic.failures() == []
    assert traffic.misspoken() == []
    assert timeline.wrong(traffic.answers) == []
    others = (answer for answer in traffic.answers if answer.department != "cardiology")
    assert deployed.names(others) == {("paediatrics", "paediatrics-v1")}
    assert hospital.restarts() == restarts
