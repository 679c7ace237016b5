"""What every pod of Wardrobe has, whatever it is for. What else is in them: tests/golden."""

import itertools
from collections.abc import Iterator

import pytest
import yaml
from support import fake_cluster, golden

from wardrobe.api.meta import Manifest
from wardrobe_contracts import paths
from wardrobe_contracts.command import CommandLine
from wardrobe_contracts.routes import OPS_PORT, ROUTER_PORT
from wardrobe_gateway.agent.__main__ import Options as AgentOptions
from wardrobe_gateway.check_base import Options as CheckOptions
from wardrobe_gateway.router.__main__ import Options as RouterOptions
from wardrobe_gateway.wrapper import wrapper


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
        *("trainer", "agent", "wrapper", "base", "engine", "router")
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


PROGRAMS: dict[str, type[CommandLine]] = {
    "wardrobe-agent": AgentOptions,
    "wardrobe-check-base": CheckOptions,
    "wardrobe-router": RouterOptions,
}


def test_the_gateways_programs_understand_what_they_are_told() -> None:
    found = [one for pod in PODS.values() for one in containers(pod)]
    lines = [[*one.get("command", []), *one.get("args", [])] for one in found]
    mine = [line for line in lines if line and line[0] in PROGRAMS]
    assert {line[0] for line in mine} == set(PROGRAMS)
    for program, *arguments in mine:
        PROGRAMS[program].parse(arguments)


def test_every_task_is_told_its_pods_uid() -> None:
    """What it leaves unfinished in the store is named by it: a second pod of the same Job has another."""
    tasks = [one for pod in PODS.values() for one in containers(pod) if one["name"] == "trainer"]
    told = {"name": paths.POD_UID_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    assert all(told in task["env"] for task in tasks)


def test_the_wrapper_understands_what_it_is_told_of_every_engine() -> None:
    commands = [one["command"] for pod in PODS.values() for one in containers(pod) if one["name"] == "engine"]
    assert {command[-1] for command in commands} >= {"text-generation-launcher", "wardrobe-engine"}
    for command in commands:
        own, engine = wrapper._split(command[2:])
        options = wrapper._parser().parse_args(own)
        assert str(options.control) == paths.CONTROL
        assert (options.when_ordered, bool(options.base_links)) == (("text-generation-launcher" in engine),) * 2


def test_the_engine_listens_to_its_own_pod_only() -> None:
    found = [one for pod in PODS.values() for one in containers(pod) if one["name"] == "engine"]
    assert found
    for engine in found:
        environment = {one["name"]: one["value"] for one in engine["env"]}
        arguments = dict(itertools.pairwise(engine.get("args", [])))
        assert arguments.get("--host", environment.get("HOSTNAME")) == "127.0.0.1"
        assert "ports" not in engine
