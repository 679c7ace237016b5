"""What every pod of Wardrobe has, whatever it is for, and what a person asks of its pods."""

from typing import Any

import pytest
from support import resources, results, serving

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import Manifest
from wardrobe.resources.engine_deployment import engine_deployment
from wardrobe.resources.router_deployment import router_deployment
from wardrobe.resources.run_jobs import check_job
from wardrobe.settings import Settings

SETTINGS = Settings("trainer", "gateway", "engine", user_id=4242)
PLACEMENT: Manifest = {
    "nodeSelector": {"pool": "gpu"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "registry"}],
}


def known(manifest: Manifest, **status: Any) -> Manifest:
    manifest["metadata"] |= {"namespace": "hospital", "uid": "0b1f6c1e-0000-4000-8000-000000000000", "generation": 1}
    return {**manifest, "status": status}


BASE = BaseModelResource.model_validate(
    known(resources.base_model(), **serving.ready_base(), fingerprint=results.digest("f"))
)


def task_pod() -> Manifest:
    run = known(resources.run("heart"))
    run["spec"]["pod"] = {**run["spec"].get("pod", {}), **PLACEMENT}
    made = check_job(FineTuneJobResource.model_validate(run), BASE, 1, SETTINGS)
    pod: Manifest = made["spec"]["template"]["spec"]
    return pod


def deployment() -> AdapterDeploymentResource:
    manifest = known(serving.deployment(cardiology="cardiology-v1"))
    manifest["spec"] |= {"engine": {"pod": dict(PLACEMENT)}, "router": {"pod": dict(PLACEMENT)}}
    return AdapterDeploymentResource.model_validate(manifest)


def engine_pod() -> Manifest:
    pod: Manifest = engine_deployment(deployment(), BASE, SETTINGS)["spec"]["template"]["spec"]
    return pod


def router_pod() -> Manifest:
    pod: Manifest = router_deployment(deployment(), SETTINGS)["spec"]["template"]["spec"]
    return pod


every_pod = pytest.mark.parametrize("pod", [task_pod(), engine_pod(), router_pod()], ids=["task", "engine", "router"])


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


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
    assert ids == {4242}


@every_pod
def test_a_persons_placement_reaches_the_pod(pod: Manifest) -> None:
    assert {name: pod[name] for name in PLACEMENT} == PLACEMENT


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
    assert holders <= {"agent", "router"}


def test_the_engine_listens_to_its_own_pod_only() -> None:
    (engine,) = engine_pod()["initContainers"]
    assert engine["args"][engine["args"].index("--host") + 1] == "127.0.0.1"
    assert "ports" not in engine
