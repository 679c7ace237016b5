"""The worst that a cluster does to training, on two pods with ZeRO-3; and a base that a run has made, trained on."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from kubernetes import client
from support import resources
from support.cluster import Namespace
from support.long_runs import (
    await_saved,
    await_steps,
    last_loss,
    long_run,
    status,
    training_pods,
    undisturbed_loss,
)
from support.on_the_node import kill_in
from support.operator_process import Operator
from support.waiting import eventually

from devcluster import kubectl
from devcluster.configs import NODE_NAME
from wardrobe.api.meta import Manifest

pytestmark = [pytest.mark.node, pytest.mark.drill, pytest.mark.gauntlet]

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]
RANK = "wardrobe_trainer.rank"


@contextmanager
def cordoned(kubeconfig: Path) -> Iterator[None]:
    """No pod is given to the node while the block runs."""
    kubectl.run(kubeconfig, "cordon", NODE_NAME)
    try:
        yield
    finally:
        kubectl.run(kubeconfig, "uncordon", NODE_NAME)


def await_attempts(namespace: Namespace, name: str, number: int) -> None:
    eventually(lambda: len(status(namespace, name).get("attempts", [])) >= number, what=f"attempt {number}")


def test_two_pods_lose_each_rank_their_node_and_their_operator_and_end_where_they_would_have(
    prepare: Prepare, operate: Operate, kubeconfig: Path, tmp_path: Path
) -> None:
    namespace = prepare()
    namespace.apply(resources.base_model())
    run = long_run("pair", epochs=12, nodes=2, deepspeed={"zeroStage": 3})
    run["spec"]["restarts"] = {"failure": 2}
    namespace.apply(run)
    with operate(namespace) as operator:
        for number, rank in ((1, 1), (2, 0)):
            await_saved(namespace, "pair", number)
            kill_in(training_pods(namespace, "pair")[rank], RANK)
            await_attempts(namespace, "pair", number + 1)
        await_steps(namespace, "pair", status(namespace, "pair")["attempts"][1]["steps"] + 2)
        operator.kill()
    with cordoned(kubeconfig):
        for pod in training_pods(namespace, "pair"):
            body = client.V1Eviction(
                metadata=client.V1ObjectMeta(name=pod["metadata"]["name"], namespace=namespace.name)
            )
            client.CoreV1Api(namespace.api).create_namespaced_pod_eviction(
                pod["metadata"]["name"], namespace.name, body
            )
        eventually(lambda: not any(map(works, training_pods(namespace, "pair"))), what="the end of both pods")
    with operate(namespace):
        namespace.await_condition("FineTuneJob", "pair", "Succeeded", "True", within=600)
    ended = status(namespace, "pair")
    first, second, evicted, done = ended["attempts"]
    assert {found["result"] for found in (first, second)} == {"UNKNOWN"}
    assert evicted["result"] == "PREEMPTED"
    assert (done["result"], done["lost"]) == ("SUCCEEDED", 0)
    (tmp_path / "alone").mkdir()
    assert last_loss(namespace, "pair") == pytest.approx(
        undisturbed_loss(namespace, "pair", tmp_path / "alone"), abs=1e-3
    )


def works(pod: Manifest) -> bool:
    return pod["status"].get("phase") in {"Pending", "Running"}


def test_a_base_that_a_run_has_made_is_trained_on(prepare: Prepare, operate: Operate) -> None:
    namespace = prepare()
    namespace.apply(resources.base_model())
    whole = long_run("whole", epochs=1)
    del whole["spec"]["lora"]
    whole["spec"] |= {"method": "Full", "output": {"baseModel": "tuned"}}
    whole["spec"]["training"]["learningRate"] = "1e-5"
    namespace.apply(whole)
    after = long_run("after", epochs=1)
    after["spec"]["baseModel"] = {"name": "tuned"}
    namespace.apply(after)
    with operate(namespace):
        waits = namespace.await_condition("FineTuneJob", "after", "Succeeded", "Unknown", reason="BaseModelNotFound")
        assert "no such BaseModel" in waits["message"]
        namespace.await_condition("FineTuneJob", "whole", "Succeeded", "True")
        namespace.await_condition("BaseModel", "tuned", "Ready", "True")
        namespace.await_condition("FineTuneJob", "after", "Succeeded", "True")
    made, base = namespace.get("BaseModel", "tuned"), namespace.get("BaseModel", "base")
    assert made is not None
    assert base is not None
    assert made["status"]["digest"].removeprefix("sha256:") in made["spec"]["source"]
    assert made["status"]["digest"] != base["status"]["digest"]
    assert made["status"]["tokenizer"] == base["status"]["tokenizer"]
    (adapter,) = namespace.all("Adapter")
    assert adapter["spec"]["baseModel"] == {"name": "tuned", "digest": made["status"]["digest"]}
