"""Real Kueue before the runs: it holds what has no room, preempts what has less priority, and lets it in again."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support import kueue, resources, workloads
from support.cluster import Namespace
from support.operator_process import Operator
from support.waiting import eventually

from devcluster import kubectl
from wardrobe.api import children
from wardrobe.api.meta import Manifest

pytestmark = [pytest.mark.node, pytest.mark.drill, pytest.mark.gauntlet]

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]
ONE_RUN = {"cpu": "500m", "memory": "1Gi"}
"""What each run requests, and all that the queue has."""


@pytest.fixture(scope="module")
def queues(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kueue, for this module's tests."""
    with kueue.installed(kubeconfig, tmp_path_factory.mktemp("kueue")):
        yield


@pytest.fixture
def ward(kubeconfig: Path, queues: None, prepare: Prepare) -> Iterator[Namespace]:
    """A namespace whose queue `ward` has room for one run."""
    namespace = prepare()
    with kueue.room_for(kubeconfig, namespace, "ward", **ONE_RUN):
        namespace.apply(resources.base_model())
        yield namespace


def run(name: str, epochs: int, queue: str = "ward", **priority: str) -> Manifest:
    schedule = {"epochs": str(epochs), "learningRate": "3e-4", "batchSize": 8, "microBatchSize": 4}
    made = resources.run(
        name,
        name,
        lora={"rank": 4, "alpha": 8, "targetModules": ["q_proj", "v_proj"]},
        training={**schedule, "sequenceLength": 320},
        checkpoints={"everySeconds": 10},
        pod={"resources": {"requests": ONE_RUN, "limits": {"memory": "4Gi"}}},
    )
    return resources.in_queue(made, queue, **priority)


def status(namespace: Namespace, name: str) -> Manifest:
    found: Manifest = (namespace.get("FineTuneJob", name) or {}).get("status", {})
    return found


def says(namespace: Namespace, name: str, reason: str, *words: str) -> None:
    """Wait until the run's own condition does."""

    def there() -> bool:
        found = namespace.condition("FineTuneJob", name, "Succeeded")
        return found.get("reason") == reason and all(word in found["message"] for word in words)

    eventually(there, what=lambda: f"{reason} of {name}, with {words}; it says {status(namespace, name)}")


def test_a_run_waits_for_its_queue_gives_way_and_loses_no_step(
    kubeconfig: Path, ward: Namespace, operate: Operate
) -> None:
    with operate(ward):
        ward.apply(run("long", 8))
        eventually(lambda: status(ward, "long").get("progress", {}).get("step", 0) >= 3, what="three steps")

        ward.apply(run("patient", 1))
        says(ward, "patient", "Queued", "queue 'ward'", "insufficient unused quota")

        ward.apply(run("urgent", 1, "wrad", priority="urgent"))
        says(
            ward, "urgent", "QueueUnusable", f"label {children.QUEUE_LABEL} is 'wrad'", "LocalQueue wrad doesn't exist"
        )
        held = f"job/{status(ward, 'urgent')['run']}-train-1"
        label = ("label", f"--namespace={ward.name}", f"{children.QUEUE_LABEL}=ward", "--overwrite")
        kubectl.run(kubeconfig, *label[:2], "finetunejob/urgent", held, *label[2:])

        says(ward, "urgent", "Training")
        says(ward, "long", "Queued", "queue 'ward'")
        for name in ("urgent", "patient", "long"):
            ward.await_condition("FineTuneJob", name, "Succeeded", "True")
    assert {adapter["metadata"]["name"] for adapter in ward.all("Adapter")} == {"long-v1", "patient-v1", "urgent-v1"}
    *preempted, done = status(ward, "long")["attempts"]
    first = preempted[0]
    assert (first["result"], first["reason"], first["lost"]) == ("PREEMPTED", "Preempted", 0)
    assert first["steps"] >= 3
    assert {found["result"] for found in preempted} == {"PREEMPTED"}
    assert done["resumed"] >= first["steps"]
    assert (done["result"], done["lost"]) == ("SUCCEEDED", 0)
    assert status(ward, "long")["goodput"] == "1.000"


def test_a_run_that_gave_way_while_the_operator_was_away_is_queued_again(
    kubeconfig: Path, ward: Namespace, operate: Operate
) -> None:
    with operate(ward) as operator:
        ward.apply(run("alone", 8))
        eventually(lambda: status(ward, "alone").get("progress", {}).get("saved", 0) >= 3, what="three saved steps")
        operator.kill()
        workloads.apply(somebody_elses(ward.name))
        eventually(lambda: not training_pods(ward), what="no pod of the run")
    with operate(ward):
        says(ward, "alone", "Queued", "queue 'ward'")
        (preempted, _) = status(ward, "alone")["attempts"]
        assert preempted["result"] == "PREEMPTED"
        kubectl.run(kubeconfig, "delete", "job", "urgent", f"--namespace={ward.name}")
        ward.await_condition("FineTuneJob", "alone", "Succeeded", "True")
    done = status(ward, "alone")["attempts"][1]
    assert (done["result"], done["lost"]) == ("SUCCEEDED", 0)
    assert done["resumed"] >= 3


def training_pods(namespace: Namespace) -> list[Manifest]:
    return [pod for pod in namespace.pods() if pod["metadata"]["labels"].get("wardrobe.dev/task") == "train"]


def somebody_elses(namespace: str) -> Manifest:
    """Work that Kueue lets in first, and that goes on until it is deleted."""
    pod = workloads.pod("urgent", namespace, "operator", "import time; time.sleep(3600)")
    pod["spec"]["containers"][0]["resources"] = {"requests": ONE_RUN}
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "urgent", "namespace": namespace}}
    made = {**job, "spec": {"backoffLimit": 0, "template": {"spec": pod["spec"]}}}
    return resources.in_queue(made, "ward", priority="urgent")
