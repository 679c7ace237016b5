"""TGI takes adapters only when it starts: two replicas get a new version one after the other, and nobody waits.

TGI itself is hard to come by. Its stand-in runs here, or the real one where WARDROBE_TGI names its folder; tests/tgi
holds both to the same tests. The node only says that it has GPUs.
"""

from collections.abc import Iterator

import pytest
from support import deployed, on_the_node, resources, tgi
from support.deployed import NAME, Hospital, Timeline
from support.node_namespaces import Trained
from support.operator_process import Operators
from support.served_by import ROUTED, Serve, Ward, served_by
from support.traffic import LENGTHS, flowing
from support.waiting import eventually

from devcluster import node
from wardrobe.api.meta import Manifest
from wardrobe.manifests.pod_status import is_ready
from wardrobe_contracts.engines import EngineType
from wardrobe_contracts.routes import engine_adapter_name
from wardrobe_contracts.state import AgentState, EngineSets, Reason, Verdict

pytestmark = [pytest.mark.node, pytest.mark.drill]

CRASHES = "cardiology-v13"
"""The adapter with which the engine ends at its start."""


@pytest.fixture(scope="module")
def ward(serve: Serve, trained: Trained) -> Iterator[Ward]:
    """Two engines; besides the trained versions cardiology has further ones of the same files."""
    with served_by(EngineType.TGI, 2, serve, trained, crashes_with=CRASHES) as made:
        for number in (11, 12, 13):
            add_version(made.hospital, number)
        yield made


@pytest.fixture
def hospital(ward: Ward) -> Hospital:
    return ward.hospital


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


def both_serve(hospital: Hospital) -> None:
    """Wait for the second engine, too: answers move to a version before that has restarted and proved all."""

    def settled() -> bool:
        found, routed = agents(hospital).values(), hospital.routes_in_force().routed
        served = [agent for agent in found if all(map(agent.serves, routed))]
        return len(served) == 2 and all(one.wanted == one.running for one in sets(hospital).values())

    eventually(settled, what=lambda: f"two engines with what they want: {agents(hospital)}")


def permitted(hospital: Hospital) -> str | None:
    """The pod whose engine may start anew."""
    permit = hospital.routes_in_force().permit
    return permit.pod if permit else None


def test_a_new_version_comes_to_one_engine_after_the_other(ward: Ward, hospital: Hospital) -> None:
    before, restarts = hospital.starts(), hospital.restarts()
    timeline = Timeline("cardiology", "cardiology-v1")
    with flowing(ward.traffic()) as traffic:
        timeline.flips.append(hospital.flip("cardiology", "cardiology-v2"))
        timeline.flips.append(hospital.flip("cardiology", "cardiology-v1"))
        both_serve(hospital)
    assert traffic.failures() == []
    assert traffic.misspoken() == []
    assert timeline.wrong(traffic.answers) == []
    assert hospital.starts() == {name: starts + 1 for name, starts in before.items()}, "one start each, none back"
    assert hospital.restarts() == restarts, "no container ended"
    hospital.is_ready()


def test_a_set_that_ends_tgi_is_tried_on_one_engine_only(ward: Ward, hospital: Hospital) -> None:
    both_serve(hospital)
    before = sets(hospital)
    with flowing(ward.traffic()) as traffic:
        hospital.point("cardiology", CRASHES)
        condition = eventually(lambda: not_proved(hospital, CRASHES), what="the verdict")
        eventually(lambda: all(not one.restarting for one in sets(hospital).values()), what="the old set")
        answered = len(traffic.answers)
        eventually(lambda: len(traffic.answers) >= answered + 12, what="answers")
    assert f"RuntimeError: {CRASHES} cannot be read" in condition["message"], "the engine's own words"
    assert traffic.failures() == []
    assert deployed.names(traffic.answers) == ROUTED
    after = sets(hospital)
    assert {name: one.running for name, one in after.items()} == {name: one.running for name, one in before.items()}
    assert len([one for one in after.values() if one.failed]) == 1, "the second was left alone"
    hospital.flip("cardiology", "cardiology-v1")
    hospital.is_ready()


def not_proved(hospital: Hospital, said: str) -> Manifest | None:
    proved = hospital.namespace.condition("AdapterDeployment", NAME, "AdaptersProved")
    return proved if proved.get("reason") == "NotProved" and said in proved["message"] else None


def test_the_operator_is_killed_while_an_engine_restarts(ward: Ward, hospital: Hospital, operators: Operators) -> None:
    both_serve(hospital)
    with flowing(ward.traffic()) as traffic:
        hospital.point("cardiology", "cardiology-v11")
        pod = eventually(lambda: permitted(hospital), what="a permit", every=0.05)
        operators.of(hospital.namespace).kill()
        wanted = hospital.routes_in_force().permit
        assert wanted is not None
        eventually(lambda: sets(hospital)[pod or ""].running == wanted.engine_set, what="the permitted set")
        operators.begin(hospital.namespace, f"--engine-image TGI={on_the_node.TGI_IMAGE}")
        eventually(lambda: hospital.answers_by("cardiology", "cardiology-v11"), what=lambda: str(hospital.status()))
        hospital.is_ready()
    assert traffic.failures() == []
    assert traffic.misspoken() == []


def test_an_agent_is_killed_and_the_routes_change_meanwhile(ward: Ward, hospital: Hospital) -> None:
    """What its engine runs is taken up again; what it wants now is the newest."""
    both_serve(hospital)
    victim = hospital.pods("engine")[0]
    restarts = hospital.restarts("engine")
    with flowing(ward.traffic()) as traffic:
        hospital.point("cardiology", "cardiology-v12")
        on_the_node.kill_in(victim, "wardrobe-agent")
        hospital.point("cardiology", "cardiology-v1")
        eventually(lambda: hospital.answers_by("cardiology", "cardiology-v1"), what=lambda: str(hospital.status()))
        hospital.is_ready()
        hospital.flip("cardiology", "cardiology-v12")
        hospital.is_ready()
    lost = [answer for answer in traffic.failures() if answer.status != 0]
    assert lost == []
    assert traffic.misspoken() == []
    ended = {uid: count - restarts[uid] for uid, count in hospital.restarts("engine").items()}
    assert sum(ended.values()) == 1, "the agent's container, and no engine's"


FAULTS = [
    pytest.param("cuda-graphs", (Verdict.NOT_APPLIED, Reason.LOST_IN_DECODE), marks=pytest.mark.gauntlet),
    pytest.param("prefix-cache", (Verdict.DIVERGED, Reason.ANSWERS_MIXED)),
    pytest.param("adapters-ignored", (Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE), marks=pytest.mark.gauntlet),
    pytest.param("half-an-adapter", (Verdict.DIVERGED, Reason.SCORES_UNKNOWN), marks=pytest.mark.gauntlet),
]


@pytest.mark.skipif(tgi.REAL is not None, reason="switches of the stand-in")
@pytest.mark.parametrize(("fault", "verdict"), FAULTS)
def test_an_engine_that_would_answer_wrongly_gets_no_requests(
    ward: Ward, hospital: Hospital, operators: Operators, fault: str, verdict: tuple[Verdict, Reason]
) -> None:
    """It comes as another image: its pod stands beside the two that answer, is found out and never Ready."""
    hospital.flip("cardiology", "cardiology-v1")
    both_serve(hospital)
    known = set(hospital.restarts("engine"))
    node.set_gpus(node.instance(), 5)  # for the two, the one that is looked at, and those before it that still end
    with flowing(ward.traffic()) as traffic:
        use_image(hospital, operators, on_the_node.import_tgi_stand_in(f"localhost/tgi-{fault}:dev", FAULTS=fault))
        found_out(hospital, known, verdict)
        use_image(hospital, operators, on_the_node.TGI_IMAGE)
        hospital.is_ready()
    assert traffic.failures() == []
    assert traffic.misspoken() == []
    assert deployed.names(traffic.answers) == ROUTED


def use_image(hospital: Hospital, operators: Operators, image: str) -> None:
    """Another operator, as an upgrade of the chart brings it."""
    operators.of(hospital.namespace).stop()
    operators.begin(hospital.namespace, f"--engine-image TGI={image}")


def found_out(hospital: Hospital, known: set[str], verdict: tuple[Verdict, Reason]) -> None:
    """Wait until another engine pod has this verdict on all that is routed, and the condition says so."""
    routed = hospital.routes_in_force().routed

    def judged() -> tuple[Manifest, AgentState] | None:
        pods = [pod for pod in hospital.pods("engine") if pod["metadata"]["uid"] not in known]
        states = [(pod, state) for pod in pods if (state := hospital.agent(pod)) is not None]
        return next((pair for pair in states if is_judged(pair[1])), None)

    def is_judged(state: AgentState) -> bool:
        found = [state.adapters.get(name) for name in routed]
        return all(one is not None and one.verdict is not Verdict.PENDING for one in found)

    pod, state = eventually(judged, what=lambda: str(agents(hospital)))
    assert {(state.adapters[name].verdict, state.adapters[name].reason) for name in routed} == {verdict}, state
    assert not state.ready
    assert not is_ready(pod)
    said = f"{verdict[0]} on {pod['metadata']['name']}"
    eventually(lambda: not_proved(hospital, said), what=lambda: str(hospital.status()))
