"""What keeps engine and router pods from starting is said with pod, container, field and next step."""

from typing import Any

import pytest

from wardrobe.deployment import pod_troubles
from wardrobe.deployment.pod_troubles import Trouble
from wardrobe.wakeups import pod_gist

Manifest = dict[str, Any]


def pod(status: Manifest, part: str = "engine") -> Manifest:
    labels = {"wardrobe.dev/part": part}
    return {"metadata": {"name": f"tantanila-{part}-x", "namespace": "ward", "labels": labels}, "status": status}


def sidecar(**state: Any) -> Manifest:
    """An engine container's status beside an agent that waits for it."""
    agent = {"name": "agent", "ready": False, "restartCount": 0, "state": {"running": {}}}
    engine = {"name": "engine", "ready": False, "restartCount": 0, **state}
    return {"phase": "Pending", "initContainerStatuses": [engine], "containerStatuses": [agent]}


def waiting(reason: str, message: str = "said the kubelet") -> Manifest:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def ended(code: int, reason: str = "Error", message: str = "") -> Manifest:
    return {"lastState": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}


def before(name: str, **state: Any) -> Manifest:
    """A pod whose engine waits for a container that is to end."""
    waits = sidecar(**waiting("PodInitializing"))
    return pod({**waits, "initContainerStatuses": [{"name": name, **state}, *waits["initContainerStatuses"]]})


UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no memory."}
    ],
}
OUT_OF_MEMORY = {**ended(137, "OOMKilled"), "restartCount": 1, "state": {"running": {}}}
CRASHING = {**ended(1, message="loading\nValueError: no such file\n"), **waiting("CrashLoopBackOff"), "restartCount": 1}

STORIES: list[Any] = [
    pytest.param(
        pod(UNSCHEDULABLE),
        "Unknown",
        "Unschedulable",
        ["0/1 nodes: no memory.", "spec.engine.pod.resources"],
        id="no node",
    ),
    pytest.param(
        pod(UNSCHEDULABLE, "router"),
        "Unknown",
        "Unschedulable",
        ["spec.router.pod.resources"],
        id="no node for a router",
    ),
    *(
        pytest.param(
            pod(sidecar(**waiting(reason))),
            "Unknown",
            "PodStuck",
            ["container engine", f"{reason}: said the kubelet", "spec.engine.pod.imagePullSecrets"],
            id=reason,
        )
        for reason in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")
    ),
    pytest.param(
        pod(sidecar(**waiting("CreateContainerConfigError", 'configmap "x" not found'))),
        "Unknown",
        "PodStuck",
        ['configmap "x" not found', "spec.engine.pod"],
        id="CreateContainerConfigError",
    ),
    pytest.param(
        pod(sidecar(**CRASHING)),
        "False",
        "PodCrashing",
        ["exit code 1 (ValueError: no such file)", "kubectl logs tantanila-engine-x --container engine --previous"],
        id="CrashLoopBackOff",
    ),
    pytest.param(
        pod(sidecar(**ended(1), restartCount=3, state={"running": {}})),
        "False",
        "PodCrashing",
        [],
        id="between crashes",
    ),
    pytest.param(
        pod(sidecar(**OUT_OF_MEMORY)),
        "False",
        "PodOutOfMemory",
        ["Raise spec.engine.pod.resources.limits.memory"],
        id="OOM",
    ),
    pytest.param(
        pod({"phase": "Running", "containerStatuses": [{"name": "router", **OUT_OF_MEMORY}]}, "router"),
        "False",
        "PodOutOfMemory",
        ["container router", "Raise spec.router.pod.resources.limits.memory"],
        id="OOM of a router",
    ),
    pytest.param(
        pod({"phase": "Running", "containerStatuses": [{"name": "agent", **OUT_OF_MEMORY}]}),
        "False",
        "PodOutOfMemory",
        ["The limit is Wardrobe's own"],
        id="OOM of the agent",
    ),
    *(
        pytest.param(
            before(name, **OUT_OF_MEMORY),
            "False",
            "PodOutOfMemory",
            ["The limit is Wardrobe's own"],
            id=f"OOM of {name}",
        )
        for name in ("wrapper", "base")
    ),
    pytest.param(
        before("base", **CRASHING),
        "False",
        "PodCrashing",
        ["container base", "ValueError: no such file", "--container base --previous`"],
        id="the base is not the one that was inspected",
    ),
    pytest.param(
        pod(sidecar(**ended(0), restartCount=3, state={"terminated": {"exitCode": 0, "reason": "Completed"}})),
        "False",
        "PodCrashing",
        ["container engine"],
        id="an engine that ends as if that were well",
    ),
]


@pytest.mark.parametrize(("manifest", "status", "reason", "said"), STORIES)
def test_a_trouble_is_said(manifest: Manifest, status: str, reason: str, said: list[str]) -> None:
    found = pod_troubles.of_pod(manifest)
    assert found is not None
    assert (found.status, found.reason) == (status, reason)
    for words in [manifest["metadata"]["name"], *said]:
        assert words in found.message


def test_what_ended_well_at_last_is_no_trouble_and_the_engine_after_it_may_be() -> None:
    done = {"restartCount": 3, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}, **ended(1)}
    assert pod_troubles.of_pod(before("wrapper", **done)) is None
    crashing = pod(sidecar(**CRASHING))
    crashing["status"]["initContainerStatuses"].insert(0, {"name": "base", **done})
    found = pod_troubles.of_pod(crashing)
    assert found
    assert "container engine" in found.message


def test_what_nobody_can_set_is_not_said_to_be_settable() -> None:
    found = pod_troubles.of_pod(before("base", **CRASHING))
    assert found
    assert "spec.engine.pod" not in found.message


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
        sidecar(**waiting("ContainerCreating")),
        sidecar(state={"running": {}}),
        sidecar(**ended(1), restartCount=1, state={"running": {}}),
        {**sidecar(**CRASHING), **READY},
    ],
    ids=["new", "scheduled", "being created", "starting", "started again once", "Ready after all"],
)
def test_a_pod_on_its_way_is_in_no_trouble(status: Manifest) -> None:
    assert pod_troubles.of_pod(pod(status)) is None


def test_a_trouble_wakes_and_so_does_its_end() -> None:
    gists = [pod_gist(pod(status)) for status in ({}, sidecar(**waiting("ErrImagePull")), sidecar(**CRASHING))]
    assert len(set(gists)) == 3


def test_pods_that_the_api_refuses_are_in_their_deployments_status() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"}
    made = {"metadata": {"name": "tantanila-engine"}, "status": {"conditions": [refused]}}
    found = pod_troubles.of_deployment(made)
    assert found is not None
    assert found.reason == "ApiRefused"
    assert "Deployment tantanila-engine: exceeded quota: small" in found.message
    assert pod_troubles.of_deployment({"metadata": {"name": "tantanila-engine"}}) is None


def test_what_waiting_does_not_mend_is_said_first() -> None:
    found = [pod_troubles.of_pod(story.values[0]) for story in STORIES]
    troubles = [trouble for trouble in found if trouble is not None]
    first = pod_troubles.worst(troubles)
    assert isinstance(first, Trouble)
    assert first.status == "False"
    assert pod_troubles.worst([]) is None
