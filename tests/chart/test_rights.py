"""The operator with the chart's arguments and rights, and nobody else's: all it does is allowed, all else is not."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client
from support import cluster, engine_pods, kubelet, operator_process, resources
from support.audit import Audit, Permission, granted
from support.cluster import Body, Namespace
from support.helm import IMAGES, NAMESPACE, OPERATOR, Helm, one, operator_container
from support.waiting import eventually

from devcluster.controlplane import ControlPlane
from wardrobe.api.meta import Manifest

pytestmark = [pytest.mark.chart, pytest.mark.controlplane]

KEPT_REVISIONS = 10

NOT_IN_THE_LOG: dict[Permission, str] = {
    **{
        ("discovery.k8s.io", "endpointslices", verb): "granted to routers, which find engine pods by them"
        for verb in ("get", "list", "watch")
    },
    **{
        ("wardrobe.dev", f"{kind}/finalizers", "update"): "asked for by OwnerReferencesPermissionEnforcement"
        for kind in ("basemodels", "finetunejobs", "adapters", "adapterdeployments")
    },
}
"""What the operator must hold without a request of its own, and why."""


@pytest.fixture
def token_kubeconfig(installed: ControlPlane, tmp_path: Path) -> Path:
    """A kubeconfig with a token of the chart's ServiceAccount."""
    content = yaml.safe_load(installed.kubeconfig.read_text())
    token = installed.run("create", "token", "wardrobe-operator", f"--namespace={NAMESPACE}").strip()
    content["users"][0]["user"] = {"token": token}
    path = tmp_path / "operator.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def namespace(installed: ControlPlane) -> Iterator[Namespace]:
    made = Namespace(cluster.connect(installed.kubeconfig), cluster.unique("rights")).create()
    for claim in ("wardrobe-store", "models", "datasets"):
        made.claim(claim)
    yield made
    installed.run("delete", "namespace", made.name, "--wait=false")


def arguments(manifests: list[Manifest]) -> str:
    """As the chart gives them to the operator."""
    return " ".join(operator_container(manifests)["args"])


def point(namespace: Namespace, adapter: str) -> None:
    """Roll the department to an adapter, and wait until it answers."""
    namespace.change("AdapterDeployment", "tantanila", departments={"cardiology": {"adapter": adapter}})
    eventually(lambda: routed(namespace) == adapter, what=f"{adapter} routed")


def routed(namespace: Namespace) -> str | None:
    routes: dict[str, Any] = json.loads(namespace.config_map("tantanila-routes")["routes.json"])
    name: str = routes["departments"]["cardiology"].get("version", "")
    return name.rpartition("-")[0] or None


def revisions(namespace: Namespace) -> list[int]:
    found = client.AppsV1Api(namespace.api).list_namespaced_controller_revision(namespace.name).items
    return sorted(revision.revision or 0 for revision in found)


def lose_a_pod(namespace: Namespace, serving: kubelet.Kubelet) -> None:
    """With no operator there, the running task ends, and its pod goes before anybody has read what it said."""
    serving.answer = kubelet.succeed

    def complete() -> bool:
        return any(c["type"] == "Complete" for job in namespace.jobs() for c in job["status"].get("conditions", []))

    eventually(complete, what="the Job's end")
    for pod in namespace.pods():
        client.CoreV1Api(namespace.api).delete_namespaced_pod(pod["metadata"]["name"], namespace.name)
    eventually(lambda: not namespace.pods(), what="no pods")


@contextlib.contextmanager
def nothing_refused(audit: Audit) -> Iterator[None]:
    """Whatever else goes wrong in the block, a refusal is said first."""
    audit.clear()
    try:
        yield
    finally:
        assert audit.refused(OPERATOR) == []


def train(namespace: Namespace, *runs: str) -> None:
    for run in runs:
        namespace.apply(resources.run(run))
        namespace.await_condition("FineTuneJob", run, "Succeeded", "True")


def train_a_base(namespace: Namespace) -> None:
    namespace.apply(resources.run("whole", method="Full", output={"baseModel": "tuned"}))
    namespace.await_condition("FineTuneJob", "whole", "Succeeded", "True")
    namespace.await_condition("BaseModel", "tuned", "Ready", "True")


def train_with_a_pause(namespace: Namespace, serving: kubelet.Kubelet) -> None:
    """A Job that is suspended after it had begun is deleted, and another is made. Its queue is asked why it waits."""
    serving.answer = lambda task, pod: None if task == "train" else kubelet.succeed(task, pod)
    namespace.apply(resources.in_queue(resources.run("first"), "ward"))
    eventually(lambda: "train" in serving.started, what="training")
    (job,) = (name for name in names_of(namespace.jobs()) if "-train-" in name)
    client.BatchV1Api(namespace.api).patch_namespaced_job(job, namespace.name, {"spec": {"suspend": True}})
    eventually(lambda: job not in names_of(namespace.jobs()), what="the suspended Job deleted")
    serving.answer = kubelet.succeed  # not before: a pod that is still there would succeed, and its Job with it
    namespace.await_condition("FineTuneJob", "first", "Succeeded", "True")


def names_of(manifests: list[Manifest]) -> list[str]:
    return [manifest["metadata"]["name"] for manifest in manifests]


def expire(namespace: Namespace, run: str) -> None:
    """A run that has ended is deleted, and its Adapter stays."""
    namespace.change("FineTuneJob", run, ttlSecondsAfterFinished=0)
    eventually(lambda: namespace.get("FineTuneJob", run) is None, what="the run deleted")


def roll_often(namespace: Namespace) -> None:
    """Until the oldest record of what answered is dropped."""
    namespace.apply(resources.deployment(cardiology="cardiology-v1"))
    with engine_pods.proving(namespace, "tantanila"):
        eventually(lambda: routed(namespace) == "cardiology-v1", what="a first route")
        for _ in range(KEPT_REVISIONS // 2):
            point(namespace, "cardiology-v2")
            point(namespace, "cardiology-v1")
        eventually(lambda: 1 not in revisions(namespace), what="the first revision dropped")


def test_the_role_holds_what_a_life_needs_and_nothing_else(
    helm: Helm, namespace: Namespace, token_kubeconfig: Path, audit: Audit, tmp_path: Path
) -> None:
    manifests = helm.template(IMAGES)
    more = arguments(manifests)
    namespace.apply(resources.base_model())
    with kubelet.serving(namespace.api, namespace.name, lambda *_: None) as serving, nothing_refused(audit):
        with operator_process.running(token_kubeconfig, "", tmp_path, more=more) as operator:
            eventually(lambda: serving.started, what="the inspection")
            operator.kill()
        lose_a_pod(namespace, serving)
        with operator_process.running(token_kubeconfig, "", tmp_path, more=more):
            namespace.await_condition("BaseModel", "base", "Ready", "True")
            train_with_a_pause(namespace, serving)
            train(namespace, "second")
            train_a_base(namespace)
            expire(namespace, "second")
            serving.stop()
            roll_often(namespace)
    role = granted(one(manifests, "ClusterRole"))
    used = audit.used(OPERATOR)
    assert used - role == set(), "the apiserver would have refused it"
    assert role - used == set(NOT_IN_THE_LOG), "rights that are not used, or not listed as such"


def test_in_some_namespaces_it_needs_and_has_no_rights_elsewhere(
    helm: Helm, namespace: Namespace, token_kubeconfig: Path, audit: Audit, tmp_path: Path
) -> None:
    values = (IMAGES, f"namespaces={{{namespace.name}}}")
    helm.install(*values)
    namespace.apply(resources.base_model())
    more = arguments(helm.template(*values))
    with (
        nothing_refused(audit),
        kubelet.serving(namespace.api, namespace.name),
        operator_process.running(token_kubeconfig, "", tmp_path, more=more),
    ):
        train(namespace, "first")
    assert may_list_jobs(namespace.api, namespace.name)
    assert not may_list_jobs(namespace.api, "default")


def may_list_jobs(api: client.ApiClient, namespace: str) -> bool:
    attributes = {"group": "batch", "resource": "jobs", "verb": "list", "namespace": namespace}
    review: Body = {"spec": {"user": OPERATOR, "resourceAttributes": attributes}}
    answer = client.AuthorizationV1Api(api).create_subject_access_review(review)
    return answer.status is not None and answer.status.allowed
