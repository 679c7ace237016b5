"""What others add is left alone and costs no write; what of ours somebody changes is mended."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client
from support import cluster, in_process, resources
from support.cluster import Namespace
from support.waiting import HANG

from devcluster import controlplane
from devcluster.controlplane import ControlPlane
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Key, Manifest
from wardrobe.deployment.children.engine import engine_deployment
from wardrobe.deployment.children.router import router_deployment
from wardrobe.kube.client import Kube
from wardrobe.plan.drift import differs, stamped
from wardrobe.settings import Settings
from wardrobe.writes import FIELD_MANAGER, Apply
from wardrobe_contracts.engines import EngineType

SETTINGS = Settings("trainer:1", "gateway:1", dict.fromkeys(EngineType, "engine:1"))
ADMISSION, VERSION = "admissionregistration.k8s.io", "v1beta1"
ADDED = {"key": "example.com/zone", "operator": "Exists"}


def wanted(namespace: str = "ward") -> list[Manifest]:
    """Both Deployments of an AdapterDeployment with a toleration of its own and limits in an unusual writing."""
    manifest = resources.deployment(cardiology="cardiology-v1")
    pod = {
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "nodeSelector": {"pool": "gpu"},
        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
    }
    manifest["spec"] |= {"engine": {"pod": pod}, "router": {"pod": pod}}
    manifest["metadata"] |= {"namespace": namespace, "uid": "0b1f6c1e-0000-4000-8000-000000000000", "generation": 1}
    deployment = AdapterDeploymentResource.parse(manifest)
    return [
        engine_deployment(deployment, resources.base_to_build_on(), SETTINGS),
        router_deployment(deployment, SETTINGS),
    ]


def owned(found: Manifest, fields: dict[str, Any], manager: str = FIELD_MANAGER) -> Manifest:
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": fields}
    entries = [*found["metadata"].get("managedFields", []), entry]
    return {**found, "metadata": {**found["metadata"], "managedFields": entries}}


SMALL: Manifest = {
    "kind": "X",
    "metadata": {"name": "a"},
    "spec": {"list": [{"a": 1}], "image": "b", "map": {"c": "d"}},
}
OURS: Manifest = {"f:spec": {"f:list": {}, "f:image": {}, "f:map": {}}}


@pytest.mark.parametrize(
    "spec",
    [
        {"list": [{"a": 1}, {"b": 2}], "image": "b", "map": {"c": "d"}},
        {"list": [{"a": 1}], "image": "mirror/b", "map": {"c": "d"}},
        {"list": [{"a": 1}], "image": "b", "map": {"c": "e"}},
    ],
    ids=["added", "changed", "changed in a map"],
)
def test_what_our_own_request_came_to_is_no_drift_and_the_same_by_others_is(spec: Manifest) -> None:
    found = {**stamped(SMALL), "spec": spec}
    assert not differs(SMALL, owned(found, OURS))
    assert differs(SMALL, owned(found, {"f:spec": {"f:other": {}}}))
    assert differs(SMALL, owned(found, OURS, "kubectl-edit"))


def test_what_is_gone_is_drift_and_so_is_what_we_want_otherwise_now() -> None:
    found = owned(stamped(SMALL), OURS)
    assert not differs(SMALL, found)
    assert differs(SMALL, {**found, "spec": {"list": [{"a": 1}], "map": {"c": "d"}}})
    assert differs({**SMALL, "spec": {**SMALL["spec"], "image": "c"}}, found)


def test_a_container_that_others_inject_is_no_drift_and_ours_is_found_beside_it() -> None:
    manifest = {"kind": "X", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "agent", "image": "a"}]}}
    ours: Manifest = {"f:spec": {"f:containers": {'k:{"name":"agent"}': {".": {}, "f:name": {}, "f:image": {}}}}}
    injected = [{"name": "proxy", "image": "p"}, {"name": "agent", "image": "a"}]
    found = {**stamped(manifest), "spec": {"containers": injected}}
    assert not differs(manifest, owned(found, ours))
    assert differs(manifest, owned({**found, "spec": {"containers": injected[:1]}}, ours)), "ours is gone"
    del ours["f:spec"]["f:containers"]['k:{"name":"agent"}']["f:image"]
    changed = [injected[0], {"name": "agent", "image": "other"}]
    assert differs(manifest, owned({**found, "spec": {"containers": changed}}, ours)), "the image is another's now"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Policies that mutate do what webhooks do, without a server; this apiserver's version has them as beta."""
    options = ("--feature-gates=MutatingAdmissionPolicy=true", f"--runtime-config={ADMISSION}/{VERSION}=true")
    with controlplane.start(controller_manager=False, apiserver_options=options) as started:
        yield started


@pytest.fixture
def webhook(plane: ControlPlane) -> Namespace:
    """A namespace in which every Deployment that is written gets a toleration and another image."""
    name = cluster.unique("mutated")
    api = cluster.connect(plane.kubeconfig)
    namespace = Namespace(api, name).create()
    add = {
        "apiVersion": f"{ADMISSION}/{VERSION}",
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "resources": ["deployments"],
                        "operations": ["CREATE", "UPDATE"],
                    }
                ],
            },
            "reinvocationPolicy": "Never",
            "failurePolicy": "Fail",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": MUTATION}}],
        },
    }
    binding = {
        "apiVersion": f"{ADMISSION}/{VERSION}",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name},
    }
    client.CustomObjectsApi(api).create_cluster_custom_object(ADMISSION, VERSION, "mutatingadmissionpolicies", add)
    client.CustomObjectsApi(api).create_cluster_custom_object(
        ADMISSION, VERSION, "mutatingadmissionpolicybindings", binding
    )
    return namespace


MUTATION = """
object.spec.template.spec.tolerations.exists(t, has(t.key) && t.key == "example.com/zone") ? [] : [
  JSONPatch{op: "add", path: "/spec/template/spec/tolerations/-",
            value: Object.spec.template.spec.tolerations{key: "example.com/zone", operator: "Exists"}},
  JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image",
            value: "mirror/" + object.spec.template.spec.containers[0].image}
]
"""


@pytest.mark.controlplane
async def test_a_mutating_webhook_costs_no_write_and_a_persons_change_costs_one(
    plane: ControlPlane, webhook: Namespace
) -> None:
    async with in_process.connection(plane.kubeconfig) as connection:
        kube = in_process.CountingKube(connection)
        manifests = wanted(webhook.name)
        await until_mutated(kube, manifests)
        for manifest in manifests:
            for _ in range(5):
                assert await mended(kube, manifest) == 0
        engine = manifests[0]
        apps = client.AppsV1Api(webhook.api)
        name = engine["metadata"]["name"]
        for patch in (REPLICAS, LIMITS, TOLERATIONS):
            apps.patch_namespaced_deployment(name, webhook.name, patch)
            assert await mended(kube, engine) == 1, patch
            assert await mended(kube, engine) == 0, patch
        found = webhook.api.sanitize_for_serialization(apps.read_namespaced_deployment(name, webhook.name))["spec"]
        assert found["replicas"] == engine["spec"]["replicas"]
        assert [one["key"] for one in found["template"]["spec"]["tolerations"]] == ["gpu", ADDED["key"]]


REPLICAS: Manifest = {"spec": {"replicas": 7}}
LIMITS: Manifest = {
    "spec": {"template": {"spec": {"initContainers": [{"name": "engine", "resources": {"limits": {"cpu": "7"}}}]}}}
}
TOLERATIONS: Manifest = {"spec": {"template": {"spec": {"tolerations": [{"key": "theirs", "operator": "Exists"}]}}}}


async def until_mutated(kube: Kube, manifests: list[Manifest]) -> None:
    """Apply until the policy is in force, which it is a moment after it was made."""
    async with asyncio.timeout(HANG):
        for manifest in manifests:
            while True:
                await kube.write(Apply(stamped(manifest)))
                found = await kube.get(key(manifest))
                assert found is not None
                if ADDED["key"] in str(found["spec"]["template"]["spec"]["tolerations"]):
                    break
                await asyncio.sleep(0.1)


async def mended(kube: Kube, manifest: Manifest) -> int:
    """Writes of one look."""
    if not differs(manifest, await kube.get(key(manifest))):
        return 0
    await kube.write(Apply(stamped(manifest)))
    return 1


def key(manifest: Manifest) -> Key:
    return Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
