"""Training in several pods on a real kubelet, and what a cluster does to it: preemption costs nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from kubernetes import client
from support import resources
from support.cluster import Namespace
from support.operator_process import Operator
from support.waiting import eventually

from devcluster import volumes
from wardrobe.api.meta import Manifest

pytestmark = [pytest.mark.node, pytest.mark.drill]

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]
INDEX = "batch.kubernetes.io/job-completion-index"


def long_run(name: str, **parallelism: Any) -> Manifest:
    training = {"epochs": "8", "learningRate": "3e-4", "batchSize": 8, "microBatchSize": 4, "sequenceLength": 320}
    return resources.run(
        name,
        "renal",
        lora={"rank": 4, "alpha": 8, "targetModules": ["q_proj", "v_proj"]},
        training=training,
        checkpoints={"everySeconds": 10},
        parallelism={"accelerator": "CPU", **parallelism},
        pod={"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}},
    )


def status(namespace: Namespace, name: str) -> Manifest:
    found: Manifest = (namespace.get("FineTuneJob", name) or {}).get("status", {})
    return found


def training_pods(namespace: Namespace, name: str) -> list[Manifest]:
    """Of the run's newest attempt, in the order of their numbers."""
    labels = ("wardrobe.dev/owner", "wardrobe.dev/task")
    found = [pod for pod in namespace.pods() if tuple(map(pod["metadata"]["labels"].get, labels)) == (name, "train")]
    newest = max((int(pod["metadata"]["labels"]["wardrobe.dev/number"]) for pod in found), default=0)
    mine = [pod for pod in found if pod["metadata"]["labels"]["wardrobe.dev/number"] == str(newest)]
    return sorted(mine, key=lambda pod: int(pod["metadata"]["labels"][INDEX]))


def test_two_pods_train_together_and_go_on_where_they_were_when_one_is_evicted(
    prepare: Prepare, operate: Operate
) -> None:
    namespace = prepare()
    namespace.apply(resources.base_model())
    namespace.apply(long_run("pair", nodes=2, deepspeed={"zeroStage": 3}))
    with operate(namespace):
        eventually(lambda: status(namespace, "pair").get("progress", {}).get("step", 0) >= 3, what="three steps")
        first, second = training_pods(namespace, "pair")
        assert first["spec"]["subdomain"] == second["spec"]["subdomain"]
        name = second["metadata"]["name"]
        body = client.V1Eviction(metadata=client.V1ObjectMeta(name=name, namespace=namespace.name))
        client.CoreV1Api(namespace.api).create_namespaced_pod_eviction(name, namespace.name, body)
        namespace.await_condition("FineTuneJob", "pair", "Succeeded", "True")
    ended = status(namespace, "pair")
    evicted, done = ended["attempts"]
    assert (evicted["result"], evicted["reason"], evicted["lost"]) == ("PREEMPTED", "Terminated", 0)
    assert done["resumed"] == evicted["steps"] >= 3
    assert (done["result"], done["lost"]) == ("SUCCEEDED", 0)
    assert (ended["restarts"], ended["goodput"]) == (1, "1.000")
    runs = volumes.folder(namespace.name, "wardrobe-store") / "runs"
    assert not list(runs.glob("*/*/checkpoints/*")), "of no use any more"
