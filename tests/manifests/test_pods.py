"""What every pod of Wardrobe has, whatever it is for. What else is in them: tests/golden."""

from collections.abc import Iterator

import pytest
import yaml
from support import fake_cluster, golden

from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import OPS_PORT, ROUTER_PORT


def children() -> Iterator[tuple[str, Manifest]]:
    """By file and name: all that is made."""
    for path in sorted(golden.FOLDER.iterdir()):
        for found in yaml.safe_load_all(path.read_text()):
            yield f"{path.stem} {found['kind']} {found['metadata']['name']}", found


CHILDREN = dict(children())
PODS = {
    name: found["spec"]["template"]["spec"]
    for name, found in CHILDREN.items()
    if found["kind"] in {"Job", "Deployment"}
}
SERVICES = [found["spec"] for found in CHILDREN.values() if found["kind"] == "Service"]
every_pod = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def test_the_files_hold_pods_of_every_task_and_part() -> None:
    assert {container["name"] for pod in PODS.values() for container in containers(pod)} == {
        *("trainer", "agent", "engine", "router")
    }


@every_pod
def test_no_container_may_write_to_its_image_or_gain_privileges(pod: Manifest) -> None:
    for container in containers(pod):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


@every_pod
def test_the_operators_user_id_is_every_pods(pod: Manifest) -> None:
    ids = {pod["securityContext"][name] for name in ("runAsUser", "runAsGroup", "fsGroup")}
    assert ids == {fake_cluster.SETTINGS.user_id}


@every_pod
def test_only_agent_and_router_hold_a_token(pod: Manifest) -> None:
    assert pod["automountServiceAccountToken"] is False
    tokens = {
        volume["name"]
        for volume in pod["volumes"]
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))
    }
    holders = {
        container["name"]
        for container in containers(pod)
        if any(mount["name"] in tokens for mount in container["volumeMounts"])
    }
    assert holders == {container["name"] for container in containers(pod)} & {"agent", "router"}


@pytest.mark.parametrize("name", ["agent", "router"])
def test_operations_are_asked_where_no_client_comes(name: str) -> None:
    found = [one for pod in PODS.values() for one in pod["containers"] if one["name"] == name]
    assert found
    for container in found:
        assert {port["name"] for port in container["ports"]} == {"http", "ops"}
        assert {container[f"{probe}Probe"]["httpGet"]["port"] for probe in ("liveness", "readiness")} == {OPS_PORT}
    clients = [spec for spec in SERVICES if spec.get("clusterIP") != "None"]
    assert clients
    assert {port["targetPort"] for spec in clients for port in spec["ports"]} == {ROUTER_PORT}


def test_the_engine_listens_to_its_own_pod_only() -> None:
    found = [one for pod in PODS.values() for one in containers(pod) if one["name"] == "engine"]
    assert found
    for engine in found:
        assert engine["args"][engine["args"].index("--host") + 1] == "127.0.0.1"
        assert "ports" not in engine
