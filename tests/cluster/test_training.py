"""Training on a real kubelet, and what a cluster does to it: preemption costs nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from kubernetes import client
from support import resources
from support.cluster import Namespace
from support.long_runs import (
    await_saved,
    await_steps,
    checkpoints,
    last_loss,
    long_run,
    progress,
    status,
    training_pods,
    undisturbed_loss,
)
from support.operator_process import Operator
from support.volumes_on_the_node import full, small
from support.waiting import eventually

from devcluster import volumes

pytestmark = [pytest.mark.node, pytest.mark.drill]

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]
NOWHERE = {"uri": "http://127.0.0.1:9", "experiment": "drill", "credentials": {"secretName": "no-such-secret"}}
"""A server of MLflow that is down throughout, and a Secret that is not there: neither is a reason not to train."""


def evict(namespace: Namespace, name: str) -> None:
    """As `kubectl drain` does it."""
    body = client.V1Eviction(metadata=client.V1ObjectMeta(name=name, namespace=namespace.name))
    client.CoreV1Api(namespace.api).create_namespaced_pod_eviction(name, namespace.name, body)


def test_evicted_suspended_and_with_a_damaged_checkpoint_it_ends_where_it_would_have_undisturbed(
    prepare: Prepare, operate: Operate, tmp_path: Path
) -> None:
    namespace = prepare()
    namespace.apply(resources.base_model())
    long = long_run("long", epochs=6)
    long["spec"]["tracking"] = {"mlflow": NOWHERE}
    namespace.apply(long)
    with operate(namespace):
        await_steps(namespace, "long", 3)
        untracked = namespace.await_condition("FineTuneJob", "long", "Tracked", "False", reason="TrackingUnreachable")
        assert "spec.tracking.mlflow.uri is 'http://127.0.0.1:9': the server does not answer" in untracked["message"]
        evict(namespace, training_pods(namespace, "long")[0]["metadata"]["name"])
        eventually(lambda: len(status(namespace, "long")["attempts"]) == 2, what="a second attempt")
        evicted = status(namespace, "long")["attempts"][0]
        assert (evicted["result"], evicted["reason"], evicted["lost"]) == ("PREEMPTED", "Terminated", 0)

        await_saved(namespace, "long", evicted["steps"] + 1)
        namespace.change("FineTuneJob", "long", suspend=True)
        namespace.await_condition("FineTuneJob", "long", "Succeeded", "Unknown", reason="Suspended")
        eventually(lambda: not training_pods(namespace, "long"), what="no pod of a suspended run")
        assert progress(namespace, "long")["summary"] == "suspended: training"
        newest, before, *_ = checkpoints(namespace)
        damage(newest / "state.safetensors")

        namespace.change("FineTuneJob", "long", suspend=False)
        namespace.await_condition("FineTuneJob", "long", "Succeeded", "True")
    ended = status(namespace, "long")
    *_, done = ended["attempts"]
    assert (done["number"], done["result"], done["lost"]) == (3, "SUCCEEDED", 0)
    assert done["resumed"] == int(before.name), "of the damaged one nothing was taken"
    assert not checkpoints(namespace), "of no use any more"
    (told,) = [found for found in ended["conditions"] if found["type"] == "Tracked"]
    assert (told["status"], told["reason"]) == ("False", "TrackingUnreachable")
    (tmp_path / "alone").mkdir()
    assert last_loss(namespace, "long") == pytest.approx(
        undisturbed_loss(namespace, "long", tmp_path / "alone"), abs=1e-3
    )


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))


def test_a_full_volume_is_said_and_costs_no_training(prepare: Prepare, operate: Operate) -> None:
    namespace = prepare()
    namespace.apply(resources.base_model())
    store = volumes.folder(namespace.name, "wardrobe-store")
    with small(store), operate(namespace):
        namespace.apply(long_run("full-up", epochs=9))
        await_steps(namespace, "full-up", 1)
        with full(store):
            why = namespace.await_condition("FineTuneJob", "full-up", "Checkpointed", "False")
            assert why["reason"] == "CheckpointNotWritten"
            assert "No space left on device" in why["message"]
            step = progress(namespace, "full-up")["step"]
            await_steps(namespace, "full-up", step + 1)
        namespace.await_condition("FineTuneJob", "full-up", "Checkpointed", "True")
        namespace.await_condition("FineTuneJob", "full-up", "Succeeded", "True")
        (only,) = status(namespace, "full-up")["attempts"]
        assert (only["result"], only["lost"]) == ("SUCCEEDED", 0)
        eventually(lambda: not running(namespace), what="no pod that holds the volume")


def running(namespace: Namespace) -> list[str]:
    return [pod["metadata"]["name"] for pod in namespace.pods() if pod["status"].get("phase") in {"Pending", "Running"}]


@pytest.mark.gauntlet
def test_two_pods_train_together_and_go_on_where_they_were_when_one_is_evicted(
    prepare: Prepare, operate: Operate
) -> None:
    namespace = prepare()
    namespace.apply(resources.base_model())
    namespace.apply(long_run("pair", nodes=2, deepspeed={"zeroStage": 3}))
    with operate(namespace):
        await_steps(namespace, "pair", 3)
        first, second = training_pods(namespace, "pair")
        assert first["spec"]["subdomain"] == second["spec"]["subdomain"]
        evict(namespace, second["metadata"]["name"])
        namespace.await_condition("FineTuneJob", "pair", "Succeeded", "True")
    ended = status(namespace, "pair")
    evicted, done = ended["attempts"]
    assert (evicted["result"], evicted["reason"], evicted["lost"]) == ("PREEMPTED", "Terminated", 0)
    assert done["resumed"] == evicted["steps"] >= 3
    assert (done["result"], done["lost"]) == ("SUCCEEDED", 0)
    assert (ended["restarts"], ended["goodput"]) == (1, "1.000")
    assert not checkpoints(namespace), "of no use any more"
