"""TGI takes adapters only when it starts: two replicas get a new version one after the other, and nobody waits.

TGI itself needs a GPU; its stand-in runs here, and tests/tgi holds both to the same tests. The node only says that it
has GPUs.
"""

from collections.abc import Callable, Iterator

import pytest
from support import deployed, on_the_node, resources
from support.deployed import NAME, Hospital, Timeline
from support.operator_process import Operators
from support.traffic import LENGTHS, flowing
from support.waiting import eventually

from devcluster import node
from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import Routes, engine_adapter_name, in_config_map
from wardrobe_contracts.state import AgentState, EngineSets

pytestmark = [pytest.mark.node, pytest.mark.drill]

Serve = Callable[..., Hospital]
PER_SECOND = 1.5
"""The stand-in decodes its rows one after the other: one engine alone must have time for proofs as well."""
CRASHES = "cardiology-v13"
"""The adapter with which the engine ends at its start."""


@pytest.fixture(scope="module")
def hospital(serve: Serve) -> Iterator[Hospital]:
    """Two engines; besides the trained versions cardiology has further ones of the same files."""
    departments = {"cardiology": "cardiology-v1", "paediatrics": "paediatrics-v1"}
    manifest = deployed.on_engine(deployed.deployment(2, **departments), type="TGI", gpus=1)
    image = on_the_node.import_tgi_stand_in(CRASHES)
    node.set_gpus(node.instance(), 4)
    try:
        made = serve(manifest, more=f"--engine-image TGI={image}")
        for number in (11, 12, 13):
            add_version(made, number)
        yield made
    finally:
        node.set_gpus(node.instance(), 0)


def add_version(hospital: Hospital, number: int) -> None:
    """cardiology-v2's files under another name."""
    good = hospital.namespace.get("Adapter", "cardiology-v2") or {}
    digest = good["spec"]["digest"]
    hospital.namespace.apply(resources.another_version(good, number))
    names = [engine_adapter_name(f"cardiology-v{version}", digest) for version in (2, number)]
    hospital.known.update({(names[1], tokens): hospital.known[names[0], tokens] for tokens in LENGTHS})


def agents(hospital: Hospital) -> dict[str, AgentState]:
    """What the agents say, by pod."""
    found = {pod["metadata"]["name"]: hospital.agent(pod) for pod in hospital.pods("engine")}
    return {name: agent for name, agent in found.items() if agent is not None}


def sets(hospital: Hospital) -> dict[str, EngineSets]:
    """What they say of their engines' sets."""
    return {name: agent.engine_sets for name, agent in agents(hospital).items() if agent.engine_sets}


def routes(hospital: Hospital) -> Routes:
    return Routes.model_validate_json(in_config_map(hospital.routes()) or "")


def both_serve(hospital: Hospital) -> None:
    """Wait for the second engine, too: answers move to a version before that has restarted and proved all."""

    def settled() -> bool:
        found, routed = agents(hospital).values(), routes(hospital).routed
        served = [agent for agent in found if all(map(agent.serves, routed))]
        return len(served) == 2 and all(one.wanted == one.running for one in sets(hospital).values())

    eventually(settled, what=lambda: f"two engines with what they want: {agents(hospital)}")


def permitted(hospital: Hospital) -> str | None:
    """The pod whose engine may start anew."""
    permit = routes(hospital).permit
    return permit.pod if permit else None


def test_a_new_version_comes_to_one_engine_after_the_other(hospital: Hospital) -> None:
    before, restarts = hospital.starts(), hospital.restarts()
    timeline = Timeline("cardiology", "cardiology-v1")
    with flowing(hospital.traffic(PER_SECOND)) as traffic:
        timeline.flips.append(hospital.flip("cardiology", "cardiology-v2"))
        timeline.flips.append(hospital.flip("cardiology", "cardiology-v1"))
        both_serve(hospital)
    assert traffic.failures() == []
    assert timeline.wrong(traffic.answers) == []
    assert hospital.starts() == {name: starts + 1 for name, starts in before.items()}, "one start each, none back"
    assert hospital.restarts() == restarts, "no container ended"
    hospital.is_ready()


def test_a_set_that_ends_tgi_is_tried_on_one_engine_only(hospital: Hospital) -> None:
    both_serve(hospital)
    before = sets(hospital)
    with flowing(hospital.traffic(PER_SECOND)) as traffic:
        hospital.point("cardiology", CRASHES)
        condition = eventually(lambda: not_proved(hospital, CRASHES), what="the verdict")
        eventually(lambda: all(not one.restarting for one in sets(hospital).values()), what="the old set")
        answered = len(traffic.answers)
        eventually(lambda: len(traffic.answers) >= answered + 12, what="answers")
    assert f"RuntimeError: {CRASHES} cannot be read" in condition["message"], "the engine's own words"
    assert traffic.failures() == []
    assert deployed.names(traffic.answers) == {("cardiology", "cardiology-v1"), ("paediatrics", "paediatrics-v1")}
    after = sets(hospital)
    assert {name: one.running for name, one in after.items()} == {name: one.running for name, one in before.items()}
    assert len([one for one in after.values() if one.failed]) == 1, "the second was left alone"
    hospital.flip("cardiology", "cardiology-v1")
    hospital.is_ready()


def not_proved(hospital: Hospital, adapter: str) -> Manifest | None:
    proved = hospital.namespace.condition("AdapterDeployment", NAME, "AdaptersProved")
    return proved if proved.get("reason") == "NotProved" and adapter in proved["message"] else None


def test_the_operator_is_killed_while_an_engine_restarts(hospital: Hospital, operators: Operators) -> None:
    both_serve(hospital)
    with flowing(hospital.traffic(PER_SECOND)) as traffic:
        hospital.point("cardiology", "cardiology-v11")
        pod = eventually(lambda: permitted(hospital), what="a permit", every=0.05)
        operators.of(hospital.namespace).kill()
        wanted = routes(hospital).permit
        assert wanted is not None
        eventually(lambda: sets(hospital)[pod or ""].running == wanted.engine_set, what="the permitted set")
        operators.begin(hospital.namespace, f"--engine-image TGI={on_the_node.TGI_STAND_IN}")
        eventually(lambda: hospital.answers_by("cardiology", "cardiology-v11"), what=lambda: str(hospital.status()))
        hospital.is_ready()
    assert traffic.failures() == []


def test_an_agent_is_killed_and_the_routes_change_meanwhile(hospital: Hospital) -> None:
    """What its engine runs is taken up again; what it wants now is the newest."""
    both_serve(hospital)
    victim = hospital.pods("engine")[0]
    restarts = hospital.restarts("engine")
    with flowing(hospital.traffic(PER_SECOND)) as traffic:
        hospital.point("cardiology", "cardiology-v12")
        on_the_node.kill_in(victim, "wardrobe-agent")
        hospital.point("cardiology", "cardiology-v1")
        eventually(lambda: hospital.answers_by("cardiology", "cardiology-v1"), what=lambda: str(hospital.status()))
        hospital.is_ready()
        hospital.flip("cardiology", "cardiology-v12")
        hospital.is_ready()
    lost = [answer for answer in traffic.failures() if answer.status != 0]
    assert lost == []
    ended = {uid: count - restarts[uid] for uid, count in hospital.restarts("engine").items()}
    assert sum(ended.values()) == 1, "the agent's container, and no engine's"
