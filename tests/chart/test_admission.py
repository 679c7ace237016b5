"""Nobody forges a child: who asks is what the apiserver knows, and labels and references are what anybody can write.

The one who is refused here may do everything that RBAC can grant.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kubernetes import client
from support import cluster, kubelet, operator_process, resources
from support.cluster import Namespace
from support.helm import IMAGES, NAMESPACE, OPERATOR, Helm
from support.strangers import POD, STRANGER
from support.waiting import eventually

from devcluster.console import DevclusterError
from devcluster.controlplane import ControlPlane
from wardrobe.api.meta import API_VERSION, Manifest

pytestmark = [pytest.mark.chart, pytest.mark.controlplane]

OWNER = {"apiVersion": API_VERSION, "kind": "FineTuneJob", "name": "heart", "uid": "heart-uid", "controller": True}
LABEL = {"wardrobe.dev/run": "heart-12345678"}
RESULT = {"wardrobe.dev/result": "{}"}
IN_STATUS = json.dumps({"metadata": {"annotations": RESULT}})


@pytest.fixture
def ward(installed: ControlPlane) -> Iterator[Namespace]:
    """A namespace where the policies are in force."""
    made = Namespace(cluster.connect(installed.kubeconfig), cluster.unique("forge")).create()
    for claim in ("wardrobe-store", "models", "datasets"):
        made.claim(claim)
    for probe in (pod(labels=LABEL), job(labels=LABEL), job(template=LABEL), cron_job(LABEL)):
        eventually(lambda: refused(create(installed, made, probe, "--dry-run=server")), what="the policies")  # noqa: B023
    yield made
    installed.run("delete", "namespace", made.name, "--wait=false")


def pod(**metadata: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "forged", **metadata}, "spec": POD}


def config_map(**metadata: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "forged", **metadata}, "data": {}}


def job(template: dict[str, str] | None = None, **metadata: object) -> Manifest:
    spec = {"suspend": True, "template": {"metadata": {"labels": template or {}}, "spec": POD}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "forged", **metadata}, "spec": spec}


def deployment(labels: dict[str, str]) -> Manifest:
    """Its controllers would make pods of these labels."""
    labels = {"app": "forged", **labels}
    template = {"metadata": {"labels": labels}, "spec": {**POD, "restartPolicy": "Always"}}
    spec = {"selector": {"matchLabels": {"app": "forged"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "forged"}, "spec": spec}


def cron_job(labels: dict[str, str]) -> Manifest:
    made = {"metadata": {"labels": labels}, "spec": job()["spec"]}
    spec = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": made}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "forged"}, "spec": spec}


def create(plane: ControlPlane, namespace: Namespace, manifest: Manifest, *options: str) -> str:
    where = (f"--namespace={namespace.name}", "--filename=-")
    return attempt(plane, "create", *where, *options, stdin=json.dumps(manifest))


def attempt(plane: ControlPlane, *arguments: str, stdin: str | None = None) -> str:
    """What kubectl says to the stranger: what is done, or the refusal."""
    try:
        return plane.run(*arguments, *STRANGER, stdin=stdin)
    except DevclusterError as error:
        return str(error)


def refused(said: str) -> bool:
    return "only Wardrobe" in said or "made by Kubernetes' controllers" in said


FORGED = {
    "a Job with a run as its owner": job(ownerReferences=[OWNER]),
    "a Job with a label": job(labels=LABEL),
    "a Job with a result": job(annotations=RESULT),
    "a Job whose pod has a label": job(template=LABEL),
    "a ConfigMap with a run as its owner": config_map(ownerReferences=[OWNER]),
    "a ConfigMap with a label": config_map(labels=LABEL),
    "a ConfigMap with a result": config_map(annotations={"wardrobe.dev/result.assess.1": "{}"}),
    "a ConfigMap with an Adapter's name": config_map(annotations={"wardrobe.dev/adapter": "cardiology-v1"}),
    "a pod with a label": pod(labels=LABEL),
    "a Deployment whose pods have a label": deployment({"wardrobe.dev/part": "engine"}),
    "a CronJob whose Jobs have a label": cron_job(LABEL),
    "an Adapter that says that a run has made it": resources.adapter("cardiology-v1"),
}
HONEST = [job(), config_map(), pod(), deployment({}), cron_job({})]


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_a_forgery_is_refused(installed: ControlPlane, ward: Namespace, forged: Manifest) -> None:
    said = create(installed, ward, forged)
    assert refused(said), said


def test_what_is_not_ours_is_nobodys_business(installed: ControlPlane, ward: Namespace) -> None:
    for honest in HONEST:
        said = create(installed, ward, honest)
        assert "created" in said
        kind = honest["kind"].lower()
        where = (f"--namespace={ward.name}", "--overwrite")
        assert refused(attempt(installed, "label", kind, "forged", "wardrobe.dev/run=heart", *where)) == (
            kind != "cronjob"
        )
        assert "annotated" in attempt(installed, "annotate", kind, "forged", "ward=three", *where)
        assert "deleted" in attempt(installed, "delete", kind, "forged", f"--namespace={ward.name}", "--wait=false")


def test_an_adapter_by_hand_is_taken_and_keeps_what_it_says_of_itself(installed: ControlPlane, ward: Namespace) -> None:
    assert "created" in create(installed, ward, resources.by_hand(resources.adapter("cardiology-v1")))
    where = (f"--namespace={ward.name}", "--overwrite")
    assert refused(attempt(installed, "label", "adapter", "cardiology-v1", "wardrobe.dev/run-uid=x", *where))
    assert "labeled" in attempt(installed, "label", "adapter", "cardiology-v1", "ward=three", *where)


def test_a_run_lives_and_others_may_do_with_its_job_what_does_not_forge_it(
    helm: Helm, installed: ControlPlane, ward: Namespace, tmp_path: Path
) -> None:
    """The operator has the chart's account; the kubelet and the queue are others."""
    ward.apply(resources.base_model())
    ward.apply(resources.run("heart"))
    with (
        kubelet.serving(
            ward.api, ward.name, lambda task, pod: None if task == "train" else kubelet.succeed(task, pod)
        ) as serving,
        operator_process.running(operator_kubeconfig(installed, tmp_path), ward.name, tmp_path),
    ):
        eventually(lambda: "train" in serving.started, what="training")
        name = next(found["metadata"]["name"] for found in ward.jobs() if "-train-" in found["metadata"]["name"])
        record = f"{name.partition('-train-')[0]}-attempts"
        where = (f"--namespace={ward.name}", "--overwrite")
        for forgery in (
            ("annotate", "configmap", record, "wardrobe.dev/result.train.1={}"),
            ("annotate", "configmap", record, "wardrobe.dev/result.check.1-"),
            ("annotate", "job", name, "wardrobe.dev/result={}"),
            ("patch", "job", name, "--subresource=status", "--type=merge", f"--patch={IN_STATUS}"),
            ("label", "job", name, "wardrobe.dev/run-"),
            ("patch", "job", name, "--type=merge", '--patch={"metadata":{"ownerReferences":null}}'),
        ):
            options = where if forgery[0] in {"annotate", "label"} else where[:1]
            said = attempt(installed, *forgery, *options)
            assert refused(said), said
        assert "annotated" in attempt(installed, "annotate", "job", name, "queue.example/admitted=no", *where)
        suspend = '--patch={"spec":{"suspend":true}}'
        assert "patched" in attempt(installed, "patch", "job", name, "--type=merge", suspend, where[0])
        eventually(lambda: all(found["metadata"]["name"] != name for found in ward.jobs()), what="its end")
        serving.answer = kubelet.succeed  # not before: a pod that is still there would succeed
        ward.await_condition("FineTuneJob", "heart", "Succeeded", "True")
    assert (ward.get("FineTuneJob", "heart") or {})["status"]["restarts"] == 1
    ward.delete("FineTuneJob", "heart")
    eventually(lambda: len(ward.jobs()) == 1, what="only the inspection's Job left")


def test_users_that_the_chart_trusts_may_restore_children(helm: Helm, installed: ControlPlane, ward: Namespace) -> None:
    helm.install(IMAGES, "admission.trustedUsers={stranger}")
    eventually(lambda: "created" in create(installed, ward, job(labels=LABEL)), what="the stranger trusted")


def operator_kubeconfig(plane: ControlPlane, folder: Path) -> Path:
    content = yaml.safe_load(plane.kubeconfig.read_text())
    token = plane.run("create", "token", "wardrobe-operator", f"--namespace={NAMESPACE}").strip()
    content["users"][0]["user"] = {"token": token}
    path = folder / "operator.kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_operator_itself_may(installed: ControlPlane, ward: Namespace) -> None:
    """But make pods."""
    where = (f"--namespace={ward.name}", "--filename=-", "--dry-run=server", f"--as={OPERATOR}")
    assert "created" in installed.run("create", *where, stdin=json.dumps(job(labels=LABEL, template=LABEL)))
    assert client.CoreV1Api(ward.api).list_namespaced_pod(ward.name).items == []
