"""From Adapters to departments' answers, on a real node with real engines, under traffic."""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import requests
from kubernetes import client
from support import in_process, operator_process, resources
from support.cluster import Manifest, Namespace
from support.hospital import as_lines, rows
from support.operator_process import NODE_IMAGES, Operator
from support.traffic import Answer, Traffic, flowing
from support.waiting import eventually

from devcluster import volumes
from wardrobe.api.meta import API_VERSION, Key

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
        made = Hospital(namespace, operator, state(namespace)["url"])
        yield made
        made.operator.stop()  # a test may have killed the first one and started another


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


def ask(url: str, model: str, key: str) -> tuple[int, dict[str, Any]]:
    """One request; the status and the body."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 2}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = requests.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30)
    return answer.status_code, answer.json()


def test_a_key_opens_its_own_department_only(hospital: Hospital) -> None:
    heart = KEYS["cardiology"]
    assert ask(hospital.url, "cardiology", heart)[0] == 200
    assert ask(hospital.url, "cardiology", "")[0] == 401
    assert ask(hospital.url, "cardiology", "somebody's")[0] == 401
    assert ask(hospital.url, "paediatrics", heart)[0] == 403
    status, body = ask(hospital.url, "neurology", heart)
    assert status == 404
    assert "cardiology" in body["error"]["message"]


def test_the_openai_client_is_answered_streaming_and_not(hospital: Hospital) -> None:
    api = openai.OpenAI(base_url=f"{hospital.url}/v1", api_key=KEYS["cardiology"], max_retries=0)
    messages: Any = [{"role": "user", "content": "What is asthma?"}]
    whole = api.chat.completions.create(model="cardiology", messages=messages, max_tokens=8, temperature=0)
    chunks = list(
        api.chat.completions.create(model="cardiology", messages=messages, max_tokens=8, temperature=0, stream=True)
    )
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed == whole.choices[0].message.content
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 8


def test_a_reconcile_that_changes_nothing_costs_few_requests(hospital: Hospital, kubeconfig: Path) -> None:
    """At most 13, and no write: nothing of what the API fills in is taken for drift."""
    key = Key("AdapterDeployment", hospital.namespace.name, NAME)

    async def measure() -> tuple[int, int]:
        async with in_process.connection(kubeconfig) as connection:
            kube = in_process.CountingKube(connection)
            reconciler = in_process.reconciler(kube, images=NODE_IMAGES)
            await reconciler.reconcile(key)
            await reconciler.states.close()
            return kube.requests, kube.written

    requested, written = asyncio.run(measure())
    assert written == 0
    assert requested <= 13


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


def test_a_version_whose_files_were_changed_is_never_served(hospital: Hospital) -> None:
    """A copy of an artifact with another byte, under the true digest: the version before goes on, and it is said."""
    namespace = hospital.namespace
    before = state(namespace)["departments"]["paediatrics"]["adapter"]
    true = namespace.get("Adapter", "paediatrics-v1") or {}
    store = volumes.folder(namespace.name, "wardrobe-store")
    spoiled = store / "adapters" / "paediatrics" / "spoiled"
    shutil.copytree(store / true["spec"]["artifact"]["path"], spoiled)
    weights = bytearray((spoiled / "adapter_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (spoiled / "adapter_model.safetensors").write_bytes(bytes(weights))
    forged = {**true["spec"], "version": 9, "artifact": {"path": "adapters/paediatrics/spoiled"}}
    forged["digest"] = "sha256:" + "9" * 64
    namespace.apply({**true, "metadata": {"name": "paediatrics-v9"}, "spec": forged, "status": {}})
    with flowing(hospital.traffic()) as traffic:
        point(namespace, "paediatrics", "paediatrics-v9")

        def said() -> bool:
            proved = namespace.condition("AdapterDeployment", NAME, "AdaptersProved")
            return proved.get("reason") == "NotProved" and "paediatrics-v9" in proved["message"]

        eventually(said, within=60, what=lambda: str(state(namespace)))
        eventually(lambda: len(traffic.answers) > 10, within=30, what="answers")
    assert traffic.failures() == []
    assert {answer.version.rpartition("-")[0] for answer in traffic.answers if answer.department == "paediatrics"} == {
        before
    }
    point(namespace, "paediatrics", before)
    namespace.await_condition("AdapterDeployment", NAME, "Ready", "True", within=60)


def test_the_operator_is_not_needed_to_answer(hospital: Hospital, kubeconfig: Path, tmp_path: Path) -> None:
    """Killed under traffic, and another one started: nobody notices."""
    with flowing(hospital.traffic()) as traffic:
        hospital.operator.kill()
        eventually(lambda: len(traffic.answers) > 20, within=60, what="answers without an operator")
        hospital.operator = operator_process.start(kubeconfig, hospital.namespace.name, tmp_path, images=NODE_IMAGES)
        eventually(hospital.operator.healthy, within=60, what="another operator")
        answered = len(traffic.answers)
        eventually(lambda: len(traffic.answers) > answered + 20, within=60, what="answers with the new one")
    assert traffic.failures() == []


def test_a_killed_router_costs_at_most_what_was_on_it(hospital: Hospital) -> None:
    namespace = hospital.namespace
    with flowing(hospital.traffic()) as traffic:
        (victim, *_) = [
            pod for pod in namespace.pods() if pod["metadata"]["labels"].get("wardrobe.dev/part") == "router"
        ]
        client.CoreV1Api(namespace.api).delete_namespaced_pod(
            victim["metadata"]["name"], namespace.name, grace_period_seconds=0
        )
        killed = time.monotonic()
        eventually(lambda: len(traffic.since(killed + 5)) > 20, within=90, what="answers afterwards")
    namespace.await_condition("AdapterDeployment", NAME, "Ready", "True", within=120)
    lost = traffic.failures()
    assert [answer for answer in lost if answer.began > killed + 5] == []
    assert {answer.version.rpartition("-")[0] for answer in traffic.answers if answer.good} <= {
        "cardiology-v1",
        "cardiology-v2",
        "paediatrics-v1",
    }


def test_deleted_under_traffic_nothing_is_left(hospital: Hospital) -> None:
    namespace = hospital.namespace
    namespace.delete("AdapterDeployment", NAME)
    eventually(lambda: not pods(namespace, "engine") and not pods(namespace, "router"), within=180, what="no pods")
    left = client.AppsV1Api(namespace.api)
    assert left.list_namespaced_deployment(namespace.name).items == []
    assert left.list_namespaced_controller_revision(namespace.name).items == []
    services = client.CoreV1Api(namespace.api).list_namespaced_service(namespace.name).items
    assert [service.metadata.name for service in services] == []
    assert len(namespace.all("Adapter")) == 4
