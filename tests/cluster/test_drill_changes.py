"""What platform teams change while departments ask: keys, replicas, adapters."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from kubernetes import client
from support import deployed
from support.deployed import KEYS, NAME, Hospital, Timeline
from support.traffic import flowing
from support.waiting import eventually

from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import Routes
from wardrobe_contracts.state import AgentState, Verdict

pytestmark = [pytest.mark.node, pytest.mark.drill]

Serve = Callable[..., Hospital]


@pytest.fixture(scope="module")
def hospital(serve: Serve) -> Hospital:
    return serve(deployed.deployment(cardiology="cardiology-v1", paediatrics="paediatrics-v1"))


def status_for(hospital: Hospital, department: str, key: str) -> int:
    """What a short request with a key is answered."""
    body: dict[str, Any] = {"model": department, "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 1}
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{hospital.url}/v1/chat/completions"
    return requests.post(url, json=body, headers=headers, timeout=30).status_code


def always(hospital: Hospital, department: str, key: str, status: int) -> bool:
    """Whether every router answers so: connections are dealt to both."""
    return all(status_for(hospital, department, key) == status for _ in range(8))


def scale(hospital: Hospital, replicas: int) -> None:
    """As `kubectl scale adp tantanila --replicas N`."""
    client.CustomObjectsApi(hospital.namespace.api).patch_namespaced_custom_object_scale(
        "wardrobe.dev",
        "v1alpha1",
        hospital.namespace.name,
        "adapterdeployments",
        NAME,
        {"spec": {"replicas": replicas}},
        _content_type="application/merge-patch+json",
    )


@pytest.mark.gauntlet
def test_from_one_replica_to_three_and_back(hospital: Hospital) -> None:
    """New ones answer once they have proved what is routed; those that go finish what they have."""
    first = hospital.pods("engine")[0]["metadata"]["uid"]
    with flowing(hospital.traffic()) as traffic:
        scale(hospital, 3)
        eventually(lambda: hospital.engines_ready() == 3, what=lambda: str(hospital.status()))
        hospital.is_ready()
        assert hospital.status()["replicas"] == 3
        scale(hospital, 1)
        eventually(lambda: len(engine_pods(hospital)) == 1, what="one pod")
        hospital.is_ready()
        answered = len(traffic.answers)
        eventually(lambda: len(traffic.answers) >= answered + 12, what="answers")
    assert traffic.failures() == []
    assert deployed.names(traffic.answers) == {("cardiology", "cardiology-v1"), ("paediatrics", "paediatrics-v1")}
    assert hospital.restarts().get(first) == 0


def engine_pods(hospital: Hospital) -> list[str]:
    """All engine pods, those on their way out, too."""
    found = ((pod["metadata"]["labels"].get("wardrobe.dev/part"), pod) for pod in hospital.namespace.pods())
    return [pod["metadata"]["name"] for part, pod in found if part == "engine"]


class Watcher(threading.Thread):
    """Reads the routes again and again, then what every replica has proved: a route without proof is a `breach`."""

    def __init__(self, hospital: Hospital) -> None:
        super().__init__(daemon=True)
        self.hospital = hospital
        self.looks = 0
        self.breaches: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            routes = Routes.model_validate_json(self.hospital.routes()["routes.json"])
            for pod in self.hospital.pods("engine"):
                self._look(routes, pod["metadata"]["name"], self.hospital.agent(pod))
            self.looks += 1

    def _look(self, routes: Routes, pod: str, state: AgentState | None) -> None:
        """A replica that is not ready holds nothing back: it is sent only what it has proved."""
        if state is None or not state.ready:
            return
        verdicts = {name: adapter.verdict for name, adapter in state.adapters.items()}
        for department, route in routes.departments.items():
            if route.engine_name and verdicts.get(route.engine_name) is not Verdict.APPLIED:
                self.breaches.append(f"{department} → {route.engine_name} while {pod} says {verdicts}")


def test_a_new_adapter_is_routed_once_every_replica_has_proved_it(hospital: Hospital) -> None:
    scale(hospital, 2)
    eventually(lambda: hospital.engines_ready() == 2, what=lambda: str(hospital.status()))
    watcher = Watcher(hospital)
    watcher.start()
    timeline = Timeline("cardiology", "cardiology-v1")
    with flowing(hospital.traffic()) as traffic:
        timeline.flips.append(hospital.flip("cardiology", "cardiology-v2"))
        applied = timeline.flips[-1].applied
        eventually(lambda: len(traffic.since(applied)) >= 12, what="answers")
    watcher.ended.set()
    watcher.join()
    assert watcher.breaches == []
    assert watcher.looks > 10
    assert traffic.failures() == []
    assert timeline.wrong(traffic.answers) == []


def every_router(hospital: Hospital) -> list[Manifest]:
    """Those on their way out, too."""
    return [pod for pod in hospital.namespace.pods() if pod["metadata"]["labels"].get("wardrobe.dev/part") == "router"]


def test_missing_keys_close_one_department_until_they_are_added(hospital: Hospital) -> None:
    """A department whose Secret is not there is refused, said so, and opened without any pod's restart."""
    routers = {pod["metadata"]["uid"] for pod in every_router(hospital)}
    hospital.patch({"departments": {"renal": {"adapter": "cardiology-v1", "keys": {"secretName": "renal-keys"}}}})
    said = hospital.namespace.await_condition("AdapterDeployment", NAME, "KeysLoaded", "False")
    assert "renal" in said["message"]
    assert "renal-keys" in said["message"]
    assert always(hospital, "renal", "key-of-the-kidneys", 401)
    assert always(hospital, "cardiology", KEYS["cardiology"], 200)
    before = hospital.restarts("engine")
    hospital.secret("renal", "key-of-the-kidneys")
    hospital.namespace.await_condition("AdapterDeployment", NAME, "KeysLoaded", "True")
    # one of before, which never gets the key, takes requests for some seconds after it was told to leave
    eventually(lambda: not routers & {pod["metadata"]["uid"] for pod in every_router(hospital)}, what="new routers")
    assert always(hospital, "renal", "key-of-the-kidneys", 200)
    assert hospital.restarts("engine") == before, "routers were rolled when the department came, engines were not"


def test_keys_are_rotated_without_a_lost_request(hospital: Hospital) -> None:
    """Both work while both are there; then the old one is refused."""
    old, new = KEYS["paediatrics"], "another-key-of-the-children"
    before = hospital.restarts()
    with flowing(hospital.traffic(per_second=2)) as traffic:
        hospital.secret("paediatrics", old, new)
        eventually(lambda: always(hospital, "paediatrics", new, 200), every=2, what="the new key works")
        assert always(hospital, "paediatrics", old, 200)
    assert traffic.failures() == []
    hospital.secret("paediatrics", new)
    eventually(lambda: always(hospital, "paediatrics", old, 401), every=2, what="the old key refused")
    assert always(hospital, "paediatrics", new, 200)
    assert hospital.restarts() == before
