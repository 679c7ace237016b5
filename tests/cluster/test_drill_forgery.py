"""What a stranger writes is not believed, and a queue that holds a run's Job back costs it no attempt."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import get_args

import pytest
from kubernetes import client
from support import cluster, deployed, on_the_node, resources, results
from support.cluster import Body, Namespace
from support.helm import IMAGES, Helm
from support.hospital import as_lines, rows
from support.operator_process import Operator
from support.strangers import POD, STRANGER
from support.waiting import eventually

from devcluster import kubectl
from devcluster.console import DevclusterError
from wardrobe.api.children import NUMBER_LABEL, OWNER_KIND_LABEL, OWNER_LABEL, RESULT_ANNOTATION, RUN_LABEL, TASK_LABEL
from wardrobe.api.meta import Manifest
from wardrobe_contracts.base import Task

pytestmark = [pytest.mark.node, pytest.mark.drill]

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]


def small_run(name: str) -> Manifest:
    """One pass over few rows."""
    run = {**deployed.small_run("heart-1"), "metadata": {"name": name}}
    run["spec"]["training"] |= {"epochs": "1"}
    return run


def forged(run: Manifest, task: Task) -> Manifest:
    """A Job that says to be a run's, and that its task went well; it starts no pod."""
    name = name_of(run)
    labels = {
        OWNER_KIND_LABEL: "FineTuneJob",
        OWNER_LABEL: name,
        RUN_LABEL: run_of(run),
        TASK_LABEL: task,
        NUMBER_LABEL: "1",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"forged-{name}-{task}",
            "labels": labels,
            "annotations": {RESULT_ANNOTATION: results.success(task).termination_message()},
        },
        "spec": {"suspend": True, "template": {"metadata": {"labels": labels}, "spec": POD}},
    }


def forged_record() -> Manifest:
    """What says of an attempt that its task went well."""
    said = {f"{RESULT_ANNOTATION}.assess.1": results.success("assess").termination_message()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"annotations": said}}


@pytest.fixture(scope="module")
def namespace(prepare: Prepare) -> Namespace:
    made = prepare({"cardiology.jsonl": as_lines(rows("cardiology", 48))})
    made.apply(resources.base_model())
    return made


def run_of(run: Manifest) -> str:
    """What its Jobs begin with."""
    return f"{run['metadata']['name']}-{run['metadata']['uid'][:8]}"


def own_jobs(namespace: Namespace, run: Manifest) -> list[Manifest]:
    """The run's own: it is their controller."""
    uid = run["metadata"]["uid"]
    return [job for job in namespace.jobs() if uid in map(uid_of, job["metadata"].get("ownerReferences", []))]


def uid_of(reference: Manifest) -> str:
    found: str = reference["uid"]
    return found


def name_of(found: Manifest) -> str:
    name: str = found["metadata"]["name"]
    return name


def suspend(namespace: Namespace, job: Manifest, *, value: bool) -> None:
    """As a queue does it."""
    batch = client.BatchV1Api(namespace.api)
    batch.patch_namespaced_job(name_of(job), namespace.name, {"spec": {"suspend": value}})


def test_forged_jobs_make_no_adapter_and_a_job_that_is_held_back_begins_when_it_is_let_in(
    namespace: Namespace, operate: Operate
) -> None:
    """Its Job is suspended before the Job controller has seen it, as a queue's webhook does it."""
    with operate(namespace):
        namespace.await_condition("BaseModel", "base", "Ready", "True")
        with on_the_node.frozen(on_the_node.daemon("controller-manager")):
            run = namespace.apply(small_run("heart"))
            for task in get_args(Task):
                body: Body = forged(run, task)
                client.BatchV1Api(namespace.api).create_namespaced_job(namespace.name, body)
            (held,) = eventually(lambda: own_jobs(namespace, run), what="the run's first Job")
            suspend(namespace, held, value=True)
        namespace.await_condition("FineTuneJob", "heart", "Succeeded", "Unknown", reason="Queued")
        assert namespace.all("Adapter") == []
        suspend(namespace, held, value=False)
        namespace.await_condition("FineTuneJob", "heart", "Succeeded", "True")
    assert sorted(name_of(job) for job in own_jobs(namespace, run)) == first_attempts(run)
    assert (namespace.get("FineTuneJob", "heart") or {})["status"]["restarts"] == 0
    (adapter,) = namespace.all("Adapter")
    assert adapter["spec"]["digest"] != results.ASSESSMENT.digest
    assert adapter["spec"]["lineage"]["job"]["uid"] == run["metadata"]["uid"]


def first_attempts(run: Manifest) -> list[str]:
    """Names of the Jobs of a run that lost no attempt."""
    return [f"{run_of(run)}-{task}-1" for task in ("assess", "check", "train")]


@pytest.fixture
def policies(kubeconfig: Path, tmp_path: Path) -> Iterator[None]:
    """The chart's admission policies alone, with the tests' own user as one that they trust."""
    user = kubectl.run(kubeconfig, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}").strip()
    rendered = Helm(tmp_path).template(IMAGES, f"admission.trustedUsers={{{user}}}")
    kinds = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    items = [one for one in rendered if one["kind"] in kinds and one["metadata"]["name"] == "wardrobe-children"]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    kubectl.run(kubeconfig, "apply", "--filename=-", stdin=manifest)
    yield
    kubectl.run(kubeconfig, "delete", "--filename=-", stdin=manifest)


@pytest.mark.usefixtures("policies")
def test_with_the_charts_policies_a_stranger_cannot_even_write_them(kubeconfig: Path, namespace: Namespace) -> None:
    """With a true reference to the run as well, which the operator would have to believe: a Job, and a record."""
    run = namespace.get("FineTuneJob", "heart") or {}
    owner = {key: run[key] for key in ("apiVersion", "kind")} | {"controller": True, "name": "heart"}
    job, record = forged(run, "assess"), forged_record()
    job["metadata"]["ownerReferences"] = [{**owner, "uid": run["metadata"]["uid"]}]

    def refusal(of: Manifest) -> str:
        of["metadata"]["name"] = cluster.unique("forged")
        try:
            where = (f"--namespace={namespace.name}", "--filename=-", "--dry-run=server")
            return kubectl.run(kubeconfig, "create", *where, *STRANGER, stdin=json.dumps(of)) and ""
        except DevclusterError as error:
            return str(error)

    eventually(lambda: "only Wardrobe" in refusal(job), what="a Job is refused")
    eventually(lambda: "only Wardrobe" in refusal(record), what="a record is refused")
