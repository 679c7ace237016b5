"""A node is drained while a run trains on it and the operator is restarted: no result is lost, nothing runs twice."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import deployed, resources
from support.cluster import Namespace
from support.hospital import as_lines, rows
from support.operator_process import Operators
from support.waiting import eventually

from devcluster import kubectl
from wardrobe.api.children import RUN_LABEL
from wardrobe.api.meta import Manifest

pytestmark = [pytest.mark.node, pytest.mark.drill]

Prepare = Callable[..., Namespace]
NODE = "node1"
LOOKS_EVERY = 0.05
"""Seconds between two looks at all pods."""


class Watcher(threading.Thread):
    """Looks at the run's pods again and again: more than one at work is a `breach`."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__(daemon=True)
        self.namespace = namespace
        self.looks = 0
        self.breaches: list[list[str]] = []
        self.seen: set[str] = set()
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(LOOKS_EVERY):
            working = [pod["metadata"]["name"] for pod in self.namespace.pods() if works(pod)]
            self.seen.update(working)
            self.looks += 1
            if len(working) > 1:
                self.breaches.append(working)

    def stop(self) -> None:
        self.ended.set()
        self.join()


def works(pod: Manifest) -> bool:
    """Whether a pod of a run may still write: its container has not ended."""
    if not pod["metadata"]["labels"].get(RUN_LABEL, "").startswith("heart"):
        return False
    statuses = pod["status"].get("containerStatuses", [])
    ended = pod["status"].get("phase") in {"Succeeded", "Failed"}
    return not (ended or (statuses and all("terminated" in status["state"] for status in statuses)))


def test_a_node_is_drained_of_training_while_the_operator_is_restarted(
    prepare: Prepare, operators: Operators, kubeconfig: Path
) -> None:
    namespace = prepare({"cardiology.jsonl": as_lines(rows("cardiology", 48))})
    namespace.apply(resources.base_model())
    namespace.apply(deployed.small_run("heart-1"))
    operators.begin(namespace)
    watcher = Watcher(namespace)
    watcher.start()
    try:
        eventually(lambda: step(namespace) > 0, what="a step")
        drain(kubeconfig, namespace, operators)
        namespace.await_condition("FineTuneJob", "heart-1", "Succeeded", "True")
    finally:
        watcher.stop()
    status = (namespace.get("FineTuneJob", "heart-1") or {})["status"]
    assert watcher.breaches == []
    assert watcher.looks > 50
    assert len([name for name in watcher.seen if "-train-" in name]) == len(status["attempts"]) == 2
    assert [adapter["metadata"]["name"] for adapter in namespace.all("Adapter")] == ["cardiology-v1"]


def step(namespace: Namespace) -> int:
    """How far the training is."""
    found: int = (namespace.get("FineTuneJob", "heart-1") or {}).get("status", {}).get("progress", {}).get("step", 0)
    return found


def drain(kubeconfig: Path, namespace: Namespace, operators: Operators) -> None:
    """The operator is killed while the training's pod is on its way out; another begins before it has gone."""
    evict = threading.Thread(
        target=lambda: kubectl.run(
            kubeconfig,
            "drain",
            NODE,
            "--pod-selector=wardrobe.dev/owner=heart-1",
            "--delete-emptydir-data",
            "--timeout=300s",
        )
    )
    try:
        evict.start()
        eventually(lambda: leaving(namespace), what="the eviction", every=0.02)
        operators.of(namespace).kill()
        began = time.monotonic()
        operators.begin(namespace)
        evict.join()
        print(f"drained {time.monotonic() - began:.1f} s after the operator's end")  # noqa: T201
        namespace.await_condition("FineTuneJob", "heart-1", "Succeeded", "Unknown", reason="Unschedulable")
    finally:
        kubectl.run(kubeconfig, "uncordon", NODE)


def leaving(namespace: Namespace) -> bool:
    """Whether the training's pod is told to stop."""
    return any("deletionTimestamp" in pod["metadata"] for pod in namespace.pods() if works(pod))
