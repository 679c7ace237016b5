"""Adapters and engines that are not what they say are never served; the adapter before goes on, and it is said why."""

from collections.abc import Callable

import pytest
from support import deployed, forgery, on_the_node
from support.deployed import NAME, Hospital
from support.traffic import flowing
from support.waiting import eventually

from devcluster import volumes
from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import ENGINE_PORT, engine_adapter_name
from wardrobe_contracts.state import Verdict

pytestmark = [pytest.mark.node, pytest.mark.drill]

Serve = Callable[..., Hospital]


@pytest.fixture(scope="module")
def hospital(serve: Serve) -> Hospital:
    return serve(deployed.deployment(cardiology="cardiology-v1", paediatrics="paediatrics-v1"))


@pytest.mark.parametrize(
    ("version", "change", "honest", "said"),
    [
        pytest.param(11, forgery.flip_a_bit, False, "adapter_model.safetensors", id="bytes-changed"),
        pytest.param(12, forgery.claim_another_base, True, forgery.OTHER_BASE, id="of-another-base"),
        pytest.param(13, forgery.claim_another_rank, True, "rank", id="another-rank"),
        pytest.param(14, forgery.turn_a_matrix, True, "has matrices of", id="another-shape"),
    ],
)
def test_files_that_are_wrong_are_never_served(
    hospital: Hospital, version: int, change: forgery.Change, honest: bool, said: str
) -> None:
    namespace, name = hospital.namespace, f"paediatrics-v{version}"
    store = volumes.folder(namespace.name, "wardrobe-store")
    good = namespace.get("Adapter", "paediatrics-v1") or {}
    namespace.apply(forgery.forged(store, good, version, change, honest=honest))
    with flowing(hospital.traffic()) as traffic:
        hospital.point("paediatrics", name)
        condition = told(hospital, name)
        answered = len(traffic.answers)
        eventually(lambda: len(traffic.answers) >= answered + 12, what="answers")
    assert said in condition["message"]
    assert traffic.failures() == []
    assert deployed.names(traffic.answers) == {("cardiology", "cardiology-v1"), ("paediatrics", "paediatrics-v1")}
    hospital.flip("paediatrics", "paediatrics-v1")
    hospital.is_ready()


def told(hospital: Hospital, adapter: str) -> Manifest:
    """The condition, once it says that this Adapter is not proved."""

    def said() -> Manifest | None:
        proved = hospital.namespace.condition("AdapterDeployment", NAME, "AdaptersProved")
        return proved if proved.get("reason") == "NotProved" and adapter in proved["message"] else None

    return eventually(said, what=lambda: str(hospital.status())) or {}


def test_an_adapter_made_for_another_base_is_refused_by_the_operator(hospital: Hospital) -> None:
    """It says so itself, so no replica is asked to load it."""
    namespace = hospital.namespace
    good = namespace.get("Adapter", "paediatrics-v1") or {}
    base = {**good["spec"]["baseModel"], "digest": forgery.OTHER_BASE}
    store = volumes.folder(namespace.name, "wardrobe-store")
    other = forgery.forged(store, good, 15, forgery.flip_a_bit, honest=True)
    namespace.apply({**other, "spec": {**other["spec"], "baseModel": base}})
    hospital.point("paediatrics", "paediatrics-v15")

    def refused() -> Manifest | None:
        ready = namespace.condition("AdapterDeployment", NAME, "Ready")
        return ready if ready.get("status") == "False" and "paediatrics-v15" in ready.get("message", "") else None

    eventually(refused, what=lambda: str(hospital.status()))
    assert "paediatrics-v15" not in hospital.routes()["routes.json"]
    hospital.flip("paediatrics", "paediatrics-v1")
    hospital.is_ready()


@pytest.fixture(scope="module")
def faulty(serve: Serve) -> Hospital:
    """Two engines with faults that can be switched on; both adapters of cardiology were loaded while all was well."""
    image = on_the_node.import_faulty_engine()
    departments = {"cardiology": "cardiology-v1", "paediatrics": "paediatrics-v1"}
    hospital = serve(deployed.deployment(replicas=2, **departments), more=f"--engine-image Transformers={image}")
    hospital.flip("cardiology", "cardiology-v2")
    hospital.flip("cardiology", "cardiology-v1")
    return hospital


@pytest.mark.gauntlet
@pytest.mark.parametrize(
    ("fault", "verdict"), [("base", Verdict.NOT_APPLIED), ("swap", Verdict.WRONG_ADAPTER)], ids=["base", "swap"]
)
def test_an_engine_that_answers_wrongly_is_caught_and_gets_no_requests(
    faulty: Hospital, fault: str, verdict: Verdict
) -> None:
    """From the moment its agent starts to look, which it does at its start and every five minutes."""
    adapters = heart_adapters(faulty)
    victim = faulty.pods("engine")[0]
    switch(victim, fault, adapters)
    on_the_node.kill_in(victim, "wardrobe-agent")

    def caught() -> bool:
        state = faulty.agent(victim)
        return state is not None and all(
            name in state.adapters and state.adapters[name].verdict is verdict for name in adapters
        )

    eventually(caught, what=lambda: f"{verdict}; it is {faulty.agent(victim)}")
    with flowing(faulty.traffic()) as traffic:
        eventually(lambda: len(traffic.answers) >= 30, what="answers")
    state = faulty.agent(victim)
    assert state is not None
    assert not any(state.serves(adapter) for adapter in adapters)
    assert traffic.failures() == []
    assert deployed.names(traffic.answers) == {("cardiology", "cardiology-v1"), ("paediatrics", "paediatrics-v1")}
    assert victim["metadata"]["name"] in told(faulty, "cardiology-v1")["message"]
    switch(victim, "none", [])
    faulty.is_ready()


def heart_adapters(hospital: Hospital) -> list[str]:
    """Both adapters of cardiology, as engines call them."""
    found = {adapter["metadata"]["name"]: adapter["spec"]["digest"] for adapter in hospital.namespace.all("Adapter")}
    return [engine_adapter_name(name, found[name]) for name in ("cardiology-v1", "cardiology-v2")]


def switch(pod: Manifest, fault: str, adapters: list[str]) -> None:
    """Turn a fault on in one pod's engine."""
    on_the_node.post_in(pod, "faulty_engine", ENGINE_PORT, "/test/fault", {"fault": fault, "adapters": adapters})
