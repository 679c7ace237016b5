"""Publishing on a real kubelet: what a gate says holds, two pods are as one, and a store that is no good is said so."""

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from kubernetes import client
from support import deployed, on_the_node, resources, stores
from support.cluster import Body, Namespace
from support.deployed import NAME, Hospital
from support.operator_process import Operator
from support.traffic import flowing
from support.volumes_on_the_node import full, small
from support.waiting import eventually

from devcluster import volumes
from wardrobe.api.children import NUMBER_LABEL, OWNER_LABEL, TASK_LABEL
from wardrobe.api.meta import Manifest
from wardrobe_contracts.result import Result

pytestmark = [pytest.mark.node, pytest.mark.drill]

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]
Serve = Callable[..., Hospital]
WORSE = "heart-worse"
ROWS = "pvc://datasets/rows.jsonl"


@pytest.fixture(scope="module")
def hospital(serve: Serve) -> Hospital:
    """The heart is answered by a version that its own gate has accepted."""
    return serve(deployed.deployment(cardiology="cardiology-v1", paediatrics="paediatrics-v1"))


def worse_run() -> Manifest:
    """It learns enough to be told from the base and less than what answers, and must not be worse than that."""
    run = deployed.small_run("heart-1")
    training = run["spec"]["training"] | {"epochs": "1", "learningRate": "2e-3"}
    gate = [{"metric": "Loss", "against": "Incumbent", "maxRegression": "0.02"}]
    changes = {"training": training, "dataset": {"source": ROWS}, "evaluation": {"gate": gate}}
    return {**run, "metadata": {"name": WORSE}, "spec": run["spec"] | changes}


def assess_pod(namespace: Namespace, run: str, number: int) -> Manifest:
    """Of the assessment's attempt, once it is there."""

    def found() -> Manifest | None:
        wanted = {OWNER_LABEL: run, TASK_LABEL: "assess", NUMBER_LABEL: str(number)}
        return next((pod for pod in namespace.pods() if wanted.items() <= pod["metadata"]["labels"].items()), None)

    return eventually(found, what=f"attempt {number} to assess {run}; it is {namespace.get('FineTuneJob', run)}")


def kill_while_it_measures(namespace: Namespace, pod: Manifest) -> None:
    """Its container is gone before it can say anything: what is frozen does not hear that it is to stop."""
    on_the_node.process_in(pod, "wardrobe_trainer.variant")
    os.kill(on_the_node.process_in(pod, "assess"), signal.SIGSTOP)
    core = client.CoreV1Api(namespace.api)
    core.delete_namespaced_pod(pod["metadata"]["name"], namespace.name, grace_period_seconds=1)


def twin(namespace: Namespace, pod: Manifest) -> str:
    """Another pod with the same order and volumes, as one that lives on where a node is not reached; its name."""
    spec = {name: value for name, value in pod["spec"].items() if name not in {"nodeName", "hostname", "subdomain"}}
    body: Body = {"metadata": {"name": "twin", "labels": {"app": "twin"}}, "spec": spec}
    client.CoreV1Api(namespace.api).create_namespaced_pod(namespace.name, body)
    return "twin"


def ended(namespace: Namespace, name: str) -> Manifest:
    """A pod of one container that has ended: its state."""

    def found() -> Manifest | None:
        status = client.CoreV1Api(namespace.api).read_namespaced_pod(name, namespace.name).status
        plain = namespace.api.sanitize_for_serialization(status)
        states = [one["state"] for one in plain.get("containerStatuses", [])]
        return next((state["terminated"] for state in states if "terminated" in state), None)

    return eventually(found, what=f"the end of {name}")


def artifacts(store: Path) -> set[str]:
    """What is below the line's folder, unfinished or not."""
    return {path.name for path in (store / "adapters" / "cardiology").iterdir()}


def test_a_killed_assessment_is_made_again_and_two_pods_of_one_run_publish_once(hospital: Hospital) -> None:
    """The run's version is worse than what answers: it is published all the same, once, as Rejected."""
    namespace = hospital.namespace
    store = volumes.folder(namespace.name, "wardrobe-store")
    before = artifacts(store)
    namespace.apply(worse_run())
    kill_while_it_measures(namespace, assess_pod(namespace, WORSE, 1))
    second = assess_pod(namespace, WORSE, 2)
    other = twin(namespace, second)
    namespace.await_condition("FineTuneJob", WORSE, "Succeeded", "True")
    mine, its = ended(namespace, second["metadata"]["name"]), ended(namespace, other)
    assert (mine["exitCode"], its["exitCode"]) == (0, 0), (mine, its)
    said, too = (Result.model_validate_json(state["message"]).payload for state in (mine, its))
    assert said == too
    made = namespace.get("Adapter", "cardiology-v3") or {}
    assert made["spec"]["verdict"] == "Rejected"
    assert artifacts(store) - before == {made["spec"]["digest"].removeprefix("sha256:")}, "nothing unfinished"
    card = (store / made["spec"]["artifact"]["path"] / "README.md").read_text()
    assert f"acceptRejected: {made['spec']['digest']}" in card


def test_the_better_one_answers_and_the_worse_one_only_once_its_digest_is_accepted(hospital: Hospital) -> None:
    namespace = hospital.namespace
    assert (namespace.get("Adapter", "cardiology-v1") or {})["spec"]["verdict"] == "Accepted"
    digest = (namespace.get("Adapter", "cardiology-v3") or {})["spec"]["digest"]
    hospital.is_ready()
    with flowing(hospital.traffic()) as traffic:
        hospital.point("cardiology", "cardiology-v3")
        refused = namespace.await_condition(
            "AdapterDeployment", NAME, "AdaptersProved", "False", reason="AdapterRejected"
        )
        answered = len(traffic.answers)
        eventually(lambda: len(traffic.answers) >= answered + 12, what="answers")
    assert f"set spec.departments.cardiology.acceptRejected to {digest}" in refused["message"]
    assert traffic.failures() == []
    assert deployed.names(traffic.answers) == {("cardiology", "cardiology-v1"), ("paediatrics", "paediatrics-v1")}
    hospital.patch({"departments": {"cardiology": {"acceptRejected": digest}}})
    eventually(lambda: hospital.answers_by("cardiology", "cardiology-v3"), what=lambda: str(hospital.status()))
    hospital.flip("cardiology", "cardiology-v1")


@pytest.mark.gauntlet
def test_a_store_that_is_full_when_it_is_published_to(prepare: Prepare, operate: Operate) -> None:
    namespace = prepare()
    store = volumes.folder(namespace.name, "wardrobe-store")
    with small(store), operate(namespace):
        namespace.apply(resources.base_model())
        run = deployed.small_run("heart-1")
        training = run["spec"]["training"] | {"epochs": "1"}
        namespace.apply({**run, "spec": run["spec"] | {"training": training, "dataset": {"source": ROWS}}})
        on_the_node.process_in(assess_pod(namespace, "heart-1", 1), "assess")
        with full(store):
            why = namespace.await_condition("FineTuneJob", "heart-1", "Succeeded", "Unknown", reason="Retrying")
            assert "No space left on device" in why["message"]
        namespace.await_condition("FineTuneJob", "heart-1", "Succeeded", "True")
        made = namespace.get("Adapter", "cardiology-v1") or {}
        assert artifacts(store) == {made["spec"]["digest"].removeprefix("sha256:")}, "nothing unfinished"
        leave(namespace)


@pytest.mark.gauntlet
def test_a_store_that_does_not_rename_folders_is_said_before_anything_is_trained(
    prepare: Prepare, operate: Operate
) -> None:
    namespace = prepare()
    with unable(volumes.folder(namespace.name, "wardrobe-store")), operate(namespace):
        namespace.apply(resources.base_model())
        namespace.apply(resources.run("heart-1"))
        why = namespace.await_condition("FineTuneJob", "heart-1", "Succeeded", "False")
        assert why["reason"] == "StoreUnsuitable", why
        assert "the claim wardrobe-store is 'fuse.tests at /wardrobe/run'" in why["message"]
        assert "failed: Invalid cross-device link (EXDEV)" in why["message"]
        assert {pod["metadata"]["labels"][TASK_LABEL] for pod in namespace.pods()} == {"inspect", "check"}
        leave(namespace)


@contextlib.contextmanager
def unable(folder: Path) -> Iterator[None]:
    """A volume that renames files and no folders, over the claim's folder."""
    with stores.store(folder, {"rename folder": errno.EXDEV}):
        volumes.open_to_group(folder)
        yield


def leave(namespace: Namespace) -> None:
    """Nothing of it holds the volume any more, which is about to go."""
    for kind in ("FineTuneJob", "BaseModel"):
        for found in namespace.all(kind):
            namespace.delete(kind, found["metadata"]["name"])
    eventually(lambda: not namespace.pods(), what="no pod that holds the volume")
