"""AdapterDeployments on a real apiserver, with the operator as a process; pods are Ready as soon as they are made."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from support import cluster, in_process, kubelet, operator_process, resources, serving, serving_pods
from support.cluster import Body, Namespace
from support.operator_process import Operator
from support.serving_pods import ServingPods
from support.waiting import HANG, eventually

from devcluster.controlplane import ControlPlane
from wardrobe.api.meta import GROUP, VERSION, Key, Manifest
from wardrobe.kube.client import ConflictError
from wardrobe.writes import MarkInUse

pytestmark = pytest.mark.controlplane

NAME = "tantanila"


@dataclass
class Hospital:
    """A namespace with an inspected base and three Adapters."""

    plane: ControlPlane
    namespace: Namespace
    pods: ServingPods

    def patch(self, spec: dict[str, Any], name: str = NAME) -> None:
        """As `kubectl patch adp tantanila --type merge`."""
        client.CustomObjectsApi(self.namespace.api).patch_namespaced_custom_object(
            GROUP,
            VERSION,
            self.namespace.name,
            "adapterdeployments",
            name,
            {"spec": spec},
            _content_type="application/merge-patch+json",
        )

    def point(self, department: str, adapter: str) -> None:
        self.patch({"departments": {department: {"adapter": adapter}}})

    def live(self, adapter: str, department: str = "cardiology", within: float = HANG) -> None:
        """Wait until an Adapter answers, and all is well."""

        def there() -> bool:
            status = self.status()
            routed = status.get("departments", {}).get(department, {}).get("adapter") == adapter
            ready = self.namespace.condition("AdapterDeployment", NAME, "Ready").get("status") == "True"
            return bool(routed and ready)

        eventually(there, within=within, what=lambda: f"{adapter} live; it is {self.status()}")

    def status(self, name: str = NAME) -> Manifest:
        found: Manifest = (self.namespace.get("AdapterDeployment", name) or {}).get("status", {})
        return found

    def used(self, adapter: str, *deployments: str) -> None:
        """Wait until an Adapter says that just these use it. The list is a set: its order means nothing."""

        def users() -> list[str]:
            found: list[str] = (self.namespace.get("Adapter", adapter) or {}).get("status", {}).get("usedBy", [])
            return found

        eventually(lambda: sorted(users()) == sorted(deployments), what=lambda: f"{adapter} used by {users()}")

    def said(self, reason: str, status: str, kind: str = "Ready", name: str = NAME) -> str:
        """Wait for a condition's reason and status; its message."""
        found = self.namespace.await_condition("AdapterDeployment", name, kind, status, reason=reason)
        message: str = found["message"]
        return message


@pytest.fixture
def hospital(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Hospital]:
    namespace = Namespace(cluster.connect(control_plane.kubeconfig), cluster.unique("serving")).create()
    for claim in ("wardrobe-store", "models"):
        namespace.claim(claim)
    namespace.apply(resources.base_model())
    asyncio.run(inspected(control_plane, namespace))
    for name in ("cardiology-v1", "cardiology-v2", "paediatrics-v1"):
        namespace.apply(resources.adapter(name))
    with serving_pods.running(namespace, NAME) as pods:
        yield Hospital(control_plane, namespace, pods)


async def inspected(plane: ControlPlane, namespace: Namespace) -> None:
    with kubelet.serving(namespace.api, namespace.name):
        async with in_process.connection(plane.kubeconfig) as connection:
            kube = in_process.CountingKube(connection)
            await in_process.work_until(
                kube, namespace.name, lambda: namespace.condition("BaseModel", "base", "Ready").get("status") == "True"
            )


@pytest.fixture
def operator(hospital: Hospital, tmp_path: Path) -> Iterator[Operator]:
    with operator_process.running(hospital.plane.kubeconfig, hospital.namespace.name, tmp_path) as running:
        yield running


def test_adapters_say_who_uses_them_and_a_rollback_costs_few_requests(hospital: Hospital, operator: Operator) -> None:
    hospital.namespace.apply(resources.deployment(NAME, cardiology="cardiology-v1"))
    hospital.live("cardiology-v1")
    hospital.used("cardiology-v1", NAME)
    hospital.point("cardiology", "cardiology-v2")
    hospital.live("cardiology-v2")
    hospital.used("cardiology-v2", NAME)
    hospital.used("cardiology-v1")
    at_rest(operator)  # or what the first flip has yet to look at is charged to the second
    before = operator.api_requests()
    hospital.point("cardiology", "cardiology-v1")
    hospital.live("cardiology-v1")
    hospital.used("cardiology-v2")
    at_rest(operator)
    assert operator.api_requests() - before <= 45
    hospital.namespace.delete("AdapterDeployment", NAME)
    hospital.used("cardiology-v1")


def test_a_rejected_version_answers_once_its_digest_is_accepted(hospital: Hospital, operator: Operator) -> None:
    rejected = resources.adapter("cardiology-v3")
    numbers = {"variant": "NF4", "reference": "2.4", "candidate": "2.6", "regression": "0.083333"}
    rule = {"metric": "Loss", "against": "Base", "maxRegression": "0.02", "outcome": "Failed"} | numbers
    rejected["spec"] |= {"verdict": "Rejected", "gate": [rule]}
    hospital.namespace.apply(rejected)
    hospital.namespace.apply(resources.deployment(NAME, cardiology="cardiology-v1"))
    hospital.live("cardiology-v1")
    hospital.point("cardiology", "cardiology-v3")
    message = hospital.said("AdapterRejected", "False")
    digest = rejected["spec"]["digest"]
    assert "Loss on NF4 is 2.6 where the base has 2.4: +8.3%, and +2.0% is allowed" in message
    assert f"set spec.departments.cardiology.acceptRejected to {digest}" in message
    assert hospital.status()["live"] == "cardiology→cardiology-v1"
    hospital.patch({"departments": {"cardiology": {"acceptRejected": digest}}})
    hospital.live("cardiology-v3")


def test_a_frozen_agent_among_three_holds_up_neither_a_rollback_nor_for_long_a_new_adapter(
    hospital: Hospital, operator: Operator
) -> None:
    """Its pod stays Ready all the while, as that of a dead node does for 40 seconds."""
    wanted = resources.deployment(NAME, cardiology="cardiology-v1")
    wanted["spec"]["replicas"] = 3
    hospital.namespace.apply(wanted)
    hospital.live("cardiology-v1")
    hospital.point("cardiology", "cardiology-v2")
    hospital.live("cardiology-v2")
    hospital.namespace.apply(resources.adapter("cardiology-v3"))
    hospital.pods.freeze()
    for adapter in ("cardiology-v1", "cardiology-v3"):
        hospital.point("cardiology", adapter)
        hospital.live(adapter, within=30)
    hospital.pods.thaw()


def test_deployments_mark_one_adapter_beside_each_other_and_beside_what_was_written_before(hospital: Hospital) -> None:
    """What an earlier operator wrote is one list under one manager; from then on each entry has its own."""
    key = Key("Adapter", hospital.namespace.name, "cardiology-v1")

    async def write() -> None:
        async with in_process.connection(hospital.plane.kubeconfig) as connection:
            kube = in_process.CountingKube(connection)
            await kube.patch_status(key, {"usedBy": ["before", "gone"]})
            await asyncio.gather(*(kube.write(MarkInUse(key, name)) for name in ("second", "third", "before")))
            hospital.used("cardiology-v1", "before", "gone", "second", "third")
            version = (await kube.get(key) or {})["metadata"]["resourceVersion"]
            await kube.write(MarkInUse(key, "second"))
            await kube.patch_status(key, {"usedBy": ["before", "second"]}, version)
            hospital.used("cardiology-v1", "before", "second")
            await kube.write(MarkInUse(key, "third"))
            with pytest.raises(ConflictError):
                await kube.patch_status(key, {"usedBy": ["before", "second"]}, version)
            hospital.used("cardiology-v1", "before", "second", "third")
            with pytest.raises(ConflictError):
                await kube.write(MarkInUse(Key(key.kind, key.namespace, "cardiology-v9"), "fourth"))

    asyncio.run(write())


def test_a_deployment_deleted_while_the_operator_is_away_uses_nothing(hospital: Hospital, tmp_path: Path) -> None:
    kubeconfig, namespace = hospital.plane.kubeconfig, hospital.namespace
    with operator_process.running(kubeconfig, namespace.name, tmp_path):
        namespace.apply(resources.deployment(NAME, cardiology="cardiology-v1"))
        hospital.live("cardiology-v1")
    namespace.delete("AdapterDeployment", NAME)
    with operator_process.running(kubeconfig, namespace.name, tmp_path):
        hospital.used("cardiology-v1")


@pytest.mark.parametrize("departments", [1, 40])
def test_requests_of_a_reconcile_that_changes_nothing(hospital: Hospital, departments: int) -> None:
    """Budget: 11 requests, one for each Adapter, and no write, however many departments there are."""
    wanted = {f"ward-{number}": "cardiology-v1" for number in range(departments)}
    hospital.namespace.apply(resources.deployment(NAME, None, **wanted))
    keys = [
        Key("Adapter", hospital.namespace.name, "cardiology-v1"),
        Key("AdapterDeployment", hospital.namespace.name, NAME),
    ]

    def ready() -> bool:
        return hospital.namespace.condition("AdapterDeployment", NAME, "Ready").get("status") == "True"

    async def measure() -> list[int]:
        async with in_process.connection(hospital.plane.kubeconfig) as connection:
            kube = in_process.CountingKube(connection)
            async with in_process.reconciling(kube) as reconciler:
                async with asyncio.timeout(HANG):
                    while not ready():
                        for key in keys:
                            await reconciler.reconcile(key)
                found = []
                for key in keys:
                    await reconciler.reconcile(key)
                    before, written = kube.requests, kube.written
                    await reconciler.reconcile(key)
                    assert kube.written == written
                    found.append(kube.requests - before)
                return found

    of_adapter, of_deployment = asyncio.run(measure())
    assert of_adapter <= 3
    assert of_deployment <= 12


def test_somebody_elses_service_of_our_name_is_never_changed(hospital: Hospital, operator: Operator) -> None:
    core, namespace = client.CoreV1Api(hospital.namespace.api), hospital.namespace
    theirs: Body = {"metadata": {"name": NAME}, "spec": {"ports": [{"port": 5000}], "selector": {"app": "mlflow"}}}
    core.create_namespaced_service(namespace.name, theirs)
    before = core.read_namespaced_service(NAME, namespace.name).to_dict()
    namespace.apply(resources.deployment(NAME, cardiology="cardiology-v1"))
    message = hospital.said("NameTaken", "False")
    assert f"Service {NAME} exists already and is not this deployment's" in message
    assert core.read_namespaced_service(NAME, namespace.name).to_dict() == before
    assert client.AppsV1Api(namespace.api).list_namespaced_deployment(namespace.name).items == []
    core.delete_namespaced_service(NAME, namespace.name)
    hospital.live("cardiology-v1")


def test_deleted_and_made_again_at_once(hospital: Hospital, operator: Operator) -> None:
    """The garbage collector learns of new CRDs only every 30 seconds."""
    hospital.namespace.apply(resources.deployment(NAME, cardiology="cardiology-v1"))
    hospital.live("cardiology-v1")
    hospital.namespace.delete("AdapterDeployment", NAME)
    hospital.namespace.apply(resources.deployment(NAME, cardiology="cardiology-v2"))
    eventually(lambda: hospital.status().get("live") == "cardiology→cardiology-v2", what="the new one live")
    hospital.live("cardiology-v2")


def test_a_base_that_is_deleted_stops_no_rollback(hospital: Hospital, operator: Operator) -> None:
    hospital.namespace.apply(resources.deployment(NAME, cardiology="cardiology-v2"))
    hospital.live("cardiology-v2")
    hospital.point("cardiology", "cardiology-v1")
    hospital.live("cardiology-v1")
    hospital.namespace.delete("BaseModel", "base")
    hospital.said("BaseModelNotFound", "Unknown")
    hospital.point("cardiology", "cardiology-v2")
    eventually(lambda: hospital.status().get("live") == "cardiology→cardiology-v2", what="rolled back")
    assert "what is loaded and proved goes on answering" in hospital.said("BaseModelNotFound", "Unknown")


def test_a_pod_that_cannot_start_is_said_while_it_happens(hospital: Hospital, operator: Operator) -> None:
    hospital.pods.held.add("engine")
    hospital.namespace.apply(resources.deployment(NAME, cardiology="cardiology-v1"))

    def engine() -> Manifest | None:
        found = [pod for pod in hospital.namespace.pods() if serving.part_of(pod) == "engine"]
        return found[0] if found else None

    pod = eventually(engine, what="an engine pod")
    assert pod is not None
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    container = {
        "name": "engine",
        "ready": False,
        "restartCount": 0,
        "image": "",
        "imageID": "",
        "state": {"waiting": waiting},
    }
    core = client.CoreV1Api(hospital.namespace.api)
    status = {"phase": "Pending", "initContainerStatuses": [container]}
    core.patch_namespaced_pod_status(pod["metadata"]["name"], hospital.namespace.name, {"status": status})
    message = hospital.said("PodStuck", "Unknown")
    assert f"container engine of pod {pod['metadata']['name']} cannot start: ImagePullBackOff: no such image" in message
    core.delete_namespaced_pod(pod["metadata"]["name"], hospital.namespace.name, grace_period_seconds=0)
    hospital.pods.held.clear()
    hospital.live("cardiology-v1")


def test_pods_that_a_quota_refuses_are_said(hospital: Hospital, operator: Operator) -> None:
    core = client.CoreV1Api(hospital.namespace.api)
    quota: Body = {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "0"}}}
    core.create_namespaced_resource_quota(hospital.namespace.name, quota)

    def counted() -> bool:
        status = core.read_namespaced_resource_quota("small", hospital.namespace.name).status
        return status is not None and bool(status.hard)

    eventually(counted, what="quota")
    hospital.namespace.apply(resources.deployment(NAME, cardiology="cardiology-v1"))
    assert "exceeded quota: small" in hospital.said("ApiRefused", "Unknown", "PodsStarted")


def test_a_deployment_at_rest_costs_no_requests_and_what_happens_to_it_is_noticed(
    hospital: Hospital, operator: Operator
) -> None:
    """It used to be looked at every 30 s; now once in 20 minutes, and when something tells of a change."""
    namespace = hospital.namespace
    namespace.apply(resources.deployment(NAME, cardiology="cardiology-v1"))
    hospital.live("cardiology-v1")
    hospital.used("cardiology-v1", NAME)
    at_rest(operator)
    before = operator.api_requests()
    time.sleep(40)
    assert operator.api_requests() == before

    hospital.pods.fleet.missing_keys = ["cardiology"]
    hospital.said("KeysMissing", "False")
    hospital.pods.fleet.missing_keys = []
    hospital.live("cardiology-v1")
    core, apps = client.CoreV1Api(namespace.api), client.AppsV1Api(namespace.api)
    core.delete_namespaced_service(NAME, namespace.name)
    eventually(lambda: service_is_there(core, namespace.name), what="the Service again")
    apps.patch_namespaced_deployment(f"{NAME}-router", namespace.name, {"spec": {"replicas": 7}})
    eventually(
        lambda: apps.read_namespaced_deployment(f"{NAME}-router", namespace.name).spec.replicas != 7,
        what="the routers' number again",
    )


def at_rest(operator: Operator) -> None:
    """Wait until the operator has made no request for a while."""
    last = [-1, -1, -1, -1]

    def quiet() -> bool:
        last.append(operator.api_requests())
        return len(set(last[-4:])) == 1

    eventually(quiet, what="an operator at rest", every=1.0)


def service_is_there(core: client.CoreV1Api, namespace: str) -> bool:
    names = {found.metadata and found.metadata.name for found in core.list_namespaced_service(namespace).items}
    return NAME in names
