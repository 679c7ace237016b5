"""From Adapters to departments' answers, on a real node with real engines, under traffic."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support import deployed, helm, in_process, node_namespaces
from support.deployed import KEYS, NAME, Hospital, Timeline
from support.helm import Helm
from support.node_namespaces import Namespaces
from support.operator_process import NODE_IMAGES
from support.traffic import flowing
from support.waiting import eventually

from devcluster import kubectl
from wardrobe.api.meta import Key

pytestmark = pytest.mark.node

LOCAL_IMAGES = ("images.registry=localhost", "images.tag=dev", "images.operator.pullPolicy=Never")
OPERATOR = "app.kubernetes.io/name=wardrobe-operator"
TAKE_OVER = ("--take-ownership", "--force-conflicts")
"""The kinds are there already, applied by hand."""
REPOSITORY = Path(__file__).parents[2]
ENGINE_PYTHON = REPOSITORY / ".venv-engine" / "bin" / "python"


@pytest.fixture(scope="module")
def hospital(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """From YAML to answers by the chart's operator: a pod with the chart's rights, in one namespace only."""
    namespaces = Namespaces(kubeconfig, lambda: tmp_path_factory.mktemp("claims"))
    namespace = node_namespaces.for_training(namespaces)
    chart = Helm(tmp_path_factory.mktemp("helm"), kubeconfig)
    chart.install(*LOCAL_IMAGES, f"namespaces={{{namespace.name}}}", options=(*TAKE_OVER, "--wait", "--timeout=5m"))
    try:
        made = Hospital(namespace, node_namespaces.train(namespace).known)
        deployed.begin(made, deployed.deployment(cardiology="cardiology-v1", paediatrics="paediatrics-v1"))
        yield made
    finally:
        chart.uninstall()
        namespaces.remove()


def test_what_was_trained_is_an_adapter_with_its_lineage(hospital: Hospital) -> None:
    made = {found["metadata"]["name"]: found["spec"] for found in hospital.namespace.all("Adapter")}
    assert sorted(made) == ["cardiology-v1", "cardiology-v2", "paediatrics-v1"]
    for spec in made.values():
        assert [found["variant"] for found in spec["evaluations"]] == ["None", "INT8", "NF4"]
        assert spec["lineage"]["job"]["name"] in deployed.RUNS


def test_each_department_is_answered_by_its_own_adapter(hospital: Hospital) -> None:
    with flowing(hospital.traffic()) as traffic:
        eventually(lambda: len(traffic.answers) >= 20, what="20 answers")
    assert traffic.failures() == []
    assert deployed.names(traffic.answers) == {("cardiology", "cardiology-v1"), ("paediatrics", "paediatrics-v1")}


def ask(url: str, model: str, key: str) -> tuple[int, dict[str, Any]]:
    """One request; the status and the body."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 2}
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


@pytest.fixture(scope="module")
def asked(hospital: Hospital) -> dict[str, Any]:
    """What the departments' usual clients got."""
    command = [str(ENGINE_PYTHON), "-m", "support.ask_with_clients", hospital.url, KEYS["cardiology"], "cardiology"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY / "tests")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_usual_clients_are_answered_streaming_and_not(asked: dict[str, Any]) -> None:
    assert asked["tokens"] == 8
    assert asked["openai"]
    assert asked["openai"] == asked["openai stream"] == asked["hub"] == asked["hub stream"]
    assert asked["hub text"] == asked["hub text stream"].removesuffix("<|end|>")


def test_the_usual_clients_understand_a_refusal(asked: dict[str, Any]) -> None:
    assert asked["openai refused"] == {
        "AuthenticationError": "key_unknown",
        "PermissionDeniedError": "model_forbidden",
        "NotFoundError": "model_not_found",
    }


@pytest.mark.parametrize("streamed", [False, True])
def test_curl_is_answered(hospital: Hospital, streamed: bool) -> None:
    body = {"model": "cardiology", "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 2}
    key = f"Authorization: Bearer {KEYS['cardiology']}"
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "30", "--header", key]
    sent = json.dumps({**body, "stream": streamed})
    url = f"{hospital.url}/v1/chat/completions"
    done = subprocess.run(
        [*command, "--header", "Content-Type: application/json", "--data", sent, url],
        capture_output=True,
        text=True,
        check=True,
    )
    if streamed:
        assert done.stdout.endswith("data: [DONE]\n\n")
    else:
        assert json.loads(done.stdout)["usage"]["completion_tokens"] == 2


def test_a_reconcile_that_changes_nothing_costs_few_requests(hospital: Hospital, kubeconfig: Path) -> None:
    """At most 13, and no write: nothing of what the API fills in is taken for drift."""
    key = Key("AdapterDeployment", hospital.namespace.name, NAME)

    async def measure() -> tuple[int, int]:
        async with in_process.connection(kubeconfig) as connection:
            kube = in_process.CountingKube(connection)
            async with in_process.reconciling(kube, images=NODE_IMAGES) as reconciler:
                await reconciler.reconcile(key)
            return kube.requests, kube.written

    requested, written = asyncio.run(measure())
    assert written == 0
    assert requested <= 13


def test_rolled_forward_and_back_twenty_times_under_traffic(hospital: Hospital) -> None:
    """No pod is touched, no request is lost, and no answer comes from an adapter that was not routed at that time."""
    hospital.flip("cardiology", "cardiology-v2")
    before = hospital.restarts()
    timeline = Timeline("cardiology", "cardiology-v2")
    with flowing(hospital.traffic()) as traffic:
        for number in range(20):
            flip = hospital.flip("cardiology", f"cardiology-v{1 + number % 2}")
            timeline.flips.append(flip)
            eventually(lambda: len(traffic.since(flip.applied)) >= 3, what="answers")  # noqa: B023
    assert traffic.failures() == []
    assert timeline.wrong(traffic.answers) == []
    assert hospital.restarts() == before


def test_the_operator_was_never_found_dead(hospital: Hospital, kubeconfig: Path) -> None:
    """Its liveness looks for kopf's watches by their names, a minute after the start: that was minutes ago."""
    restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}"
    found = kubectl.run(kubeconfig, "get", "pods", "-n", helm.NAMESPACE, "-l", OPERATOR, "-o", restarts)
    assert found == "0"


def test_deleted_under_traffic_nothing_is_left(hospital: Hospital, kubeconfig: Path) -> None:
    namespace = hospital.namespace
    with flowing(hospital.traffic(patience=5)) as traffic:  # the address is nobody's in the end
        eventually(lambda: len(traffic.answers) >= 10, what="answers")
        namespace.delete("AdapterDeployment", NAME)
        eventually(
            lambda: not [pod for pod in namespace.pods() if "wardrobe.dev/part" in pod["metadata"]["labels"]],
            what="no pods",
        )
    assert deployed.names(answer for answer in traffic.answers if answer.good) <= {
        ("cardiology", "cardiology-v2"),
        ("paediatrics", "paediatrics-v1"),
    }
    kinds = "deployments,replicasets,controllerrevisions,services,configmaps,serviceaccounts,roles,rolebindings"
    labels = f"wardrobe.dev/owner-kind=AdapterDeployment,wardrobe.dev/owner={NAME}"
    found = ("get", kinds, f"--namespace={namespace.name}", f"--selector={labels}", "--output=name")
    eventually(lambda: not kubectl.run(kubeconfig, *found), what=lambda: kubectl.run(kubeconfig, *found))
    assert len(namespace.all("Adapter")) == 3
