"""From Adapters to departments' answers, on a real node with real engines, under traffic."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from support import operator_process, resources
from support.cluster import Manifest, Namespace
from support.hospital import as_lines, rows
from support.operator_process import NODE_IMAGES, Operator
from support.traffic import Answer, Traffic, flowing
from support.waiting import eventually

from wardrobe.api.meta import API_VERSION

pytestmark = pytest.mark.node

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]

SMALL = {
    "lora": {"rank": 8, "alpha": 16, "targetModules": ["all-linear"]},
    "pod": {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}},
}
KEYS = {"cardiology": "key-of-the-heart", "paediatrics": "key-of-the-children"}
NAME = "tantanila"


RUNS = {
    "heart-1": ("cardiology", "cardiology"),
    "heart-2": ("cardiology", "neurology"),  # another voice, so that the two versions can be told apart
    "child": ("paediatrics", "paediatrics"),
}
"""Line and dataset of each run."""


def small_run(name: str) -> Manifest:
    """Few rows, many passes: enough for an effect that can be proved."""
    line, department = RUNS[name]
    training = {
        "epochs": "8",
        "learningRate": "1e-3",
        "batchSize": 8,
        "microBatchSize": 8,
        "sequenceLength": 320,
    }
    return resources.run(name, line, f"pvc://datasets/{department}.jsonl", **{**SMALL, "training": training})


def deployment(**departments: str) -> Manifest:
    wanted = {
        name: {"adapter": adapter, "keys": {"secretName": f"{name}-keys"}} for name, adapter in departments.items()
    }
    pod = {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "3Gi"}}}
    spec: Manifest = {
        "baseModel": {"name": "base"},
        "quantization": "NF4",
        "engine": {"type": "Transformers", "pod": pod},
        "departments": wanted,
    }
    return {"apiVersion": API_VERSION, "kind": "AdapterDeployment", "metadata": {"name": NAME}, "spec": spec}


def secret(namespace: Namespace, department: str, keys: str) -> None:
    body = {"metadata": {"name": f"{department}-keys"}, "stringData": {"keys": keys}}
    client.CoreV1Api(namespace.api).create_namespaced_secret(namespace.name, body)


def patch(namespace: Namespace, spec: dict[str, Any]) -> None:
    """As `kubectl patch adp tantanila --type merge`."""
    client.CustomObjectsApi(namespace.api).patch_namespaced_custom_object(
        "wardrobe.dev",
        "v1alpha1",
        namespace.name,
        "adapterdeployments",
        NAME,
        {"spec": spec},
        _content_type="application/merge-patch+json",
    )


def point(namespace: Namespace, department: str, adapter: str) -> None:
    patch(namespace, {"departments": {department: {"adapter": adapter}}})


def state(namespace: Namespace) -> Manifest:
    return (namespace.get("AdapterDeployment", NAME) or {}).get("status", {})


def answering(namespace: Namespace, department: str, adapter: str) -> bool:
    """Whether all routers send a department's requests to an Adapter."""
    found = namespace.get("AdapterDeployment", NAME) or {"metadata": {}}
    status: Manifest = found.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    current = status.get("observedGeneration") == found["metadata"].get("generation")
    live = status.get("departments", {}).get(department, {}).get("adapter")
    return bool(current and live == adapter and conditions["RoutesApplied"]["status"] == "True")


def pods(namespace: Namespace, part: str) -> dict[str, int]:
    """A part's pods by uid, and how often their containers were started again."""
    found = [pod for pod in namespace.pods() if pod["metadata"]["labels"].get("wardrobe.dev/part") == part]
    return {
        pod["metadata"]["uid"]: sum(
            status["restartCount"]
            for kind in ("containerStatuses", "initContainerStatuses")
            for status in pod["status"].get(kind, [])
        )
        for pod in found
    }


@dataclass
class Hospital:
    """A namespace with three Adapters, a deployment, and the operator beside it."""

    namespace: Namespace
    operator: Operator
    url: str

    def traffic(self, per_second: float = 6, **more: Any) -> Traffic:
        """Requests of both departments."""
        return Traffic(self.url, KEYS, per_second, **more)


@pytest.fixture(scope="module")
def hospital(prepare: Prepare, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    departments = {department for _, department in RUNS.values()}
    namespace = prepare({f"{name}.jsonl": as_lines(rows(name, 48)) for name in departments})
    folder = tmp_path_factory.mktemp("operator")
    namespace.apply(resources.base_model())
    with operator_process.running(kubeconfig, namespace.name, folder, images=NODE_IMAGES) as operator:
        for name in RUNS:
            namespace.apply(small_run(name))
            namespace.await_condition("FineTuneJob", name, "Succeeded", "True", within=300)
        for department, key in KEYS.items():
            secret(namespace, department, key)
        namespace.apply(deployment(cardiology="cardiology-v1", paediatrics="paediatrics-v1"))
        namespace.await_condition("AdapterDeployment", NAME, "Ready", "True", within=240)
        yield Hospital(namespace, operator, state(namespace)["url"])


def assert_right_versions(answers: list[Answer], allowed: dict[str, set[str]]) -> None:
    """Every answer came from a version of an Adapter that was routed."""
    assert answers
    for answer in answers:
        assert answer.good, answer
        assert answer.version.rpartition("-")[0] in allowed[answer.department], answer


def test_each_department_is_answered_by_its_own_version(hospital: Hospital) -> None:
    with flowing(hospital.traffic()) as traffic:
        eventually(lambda: len(traffic.answers) >= 20, within=60, what="20 answers")
    assert_right_versions(traffic.answers, {"cardiology": {"cardiology-v1"}, "paediatrics": {"paediatrics-v1"}})


def test_rolled_forward_and_back_twenty_times_under_traffic(hospital: Hospital) -> None:
    """No pod is touched, no request is lost, and no answer comes from a version that was not routed at that time."""
    namespace = hospital.namespace
    point(namespace, "cardiology", "cardiology-v2")
    eventually(
        lambda: answering(namespace, "cardiology", "cardiology-v2"), within=120, what=lambda: str(state(namespace))
    )
    engines, routers = pods(namespace, "engine"), pods(namespace, "router")
    flips: list[tuple[float, float, str]] = []
    with flowing(hospital.traffic()) as traffic:
        for number in range(20):
            wanted = f"cardiology-v{1 + number % 2}"
            point(namespace, "cardiology", wanted)
            patched = time.monotonic()
            eventually(lambda: answering(namespace, "cardiology", wanted), within=30, what=wanted, every=0.01)  # noqa: B023
            flips.append((patched, time.monotonic(), wanted))
            eventually(lambda: len(traffic.since(flips[-1][1])) >= 3, within=30, what="answers after a flip")
    assert traffic.failures() == []
    assert_routed_when_answered(traffic.answers, flips, "cardiology-v2")
    assert (pods(namespace, "engine"), pods(namespace, "router")) == (engines, routers)


def assert_routed_when_answered(answers: list[Answer], flips: list[tuple[float, float, str]], first: str) -> None:
    """An answer's version was routed at some moment between its request and its end."""
    spans = [(0.0, flips[0][1], first)]
    for number, (patched, _, wanted) in enumerate(flips):
        until = flips[number + 1][1] if number + 1 < len(flips) else float("inf")
        spans.append((patched, until, wanted))
    for answer in answers:
        if answer.department == "cardiology":
            possible = {name for begin, end, name in spans if begin <= answer.ended and end >= answer.began}
            assert answer.version.rpartition("-")[0] in possible, answer
