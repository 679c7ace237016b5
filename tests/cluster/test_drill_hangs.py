"""An engine hangs as a whole, so that it cannot say so itself: nobody is refused, and it comes back by itself.

What was asked of it waits, and is asked of the other engine once the hung one is killed.
"""

from collections.abc import Iterator

import pytest
from support import deployed, on_the_node
from support.node_namespaces import Trained
from support.served_by import ROUTED, Serve, Ward, served_by
from support.traffic import flowing
from support.waiting import HANG, eventually

from wardrobe.manifests.pod_status import is_ready
from wardrobe_contracts.engines import EngineType

pytestmark = [pytest.mark.node, pytest.mark.drill, pytest.mark.gauntlet]


@pytest.fixture(scope="module", params=[EngineType.TGI, EngineType.TRANSFORMERS])
def ward(request: pytest.FixtureRequest, serve: Serve, trained: Trained) -> Iterator[Ward]:
    """Two engines of each sort."""
    with served_by(request.param, 2, serve, trained) as made:
        yield made


def test_an_engine_that_hangs_is_killed_proves_anew_and_loses_nothing(ward: Ward) -> None:
    hospital = ward.hospital
    victim = hospital.pods("engine")[0]
    name, uid = victim["metadata"]["name"], victim["metadata"]["uid"]
    starts, restarts = hospital.starts(), hospital.restarts()
    with flowing(ward.traffic(patience=HANG)) as traffic:
        eventually(lambda: len(traffic.answers) >= 12, what="answers of both")
        on_the_node.freeze_engine(victim)
        eventually(
            lambda: not any(is_ready(pod) for pod in hospital.pods("engine") if pod["metadata"]["uid"] == uid),
            what="a pod that is not Ready",
        )
        alone = len(traffic.answers)
        eventually(lambda: len(traffic.answers) >= alone + 12, what="answers of the other")
        eventually(lambda: hospital.starts().get(name, 0) > starts[name], what=lambda: str(hospital.agent(victim)))
        hospital.is_ready()
        eventually(lambda: hospital.engines_ready() == 2, what=lambda: str(hospital.status()))
        again = len(traffic.answers)
        eventually(lambda: len(traffic.answers) >= again + 12, what="answers of both")
    longest = max(answer.ended - answer.began for answer in traffic.answers)
    print(f"{ward.engine}: {len(traffic.answers)} answers, the longest after {longest:.0f} s")  # noqa: T201
    assert traffic.failures() == []
    assert deployed.names(traffic.answers) == ROUTED
    assert hospital.restarts() == {**restarts, uid: restarts[uid] + 1}, "the hung engine's container, and no other"
