"""Real Kueue on the node: its own program in a pod, installed by its own chart, webhooks and all; and its queues."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from devcluster import build, images, kubectl, node
from wardrobe.api.meta import Manifest

from .cluster import Namespace
from .helm import Helm
from .waiting import eventually

MODULE = "sigs.k8s.io/kueue"
IMAGE = "localhost/kueue"
TAG = "dev"
WHERE = "kueue-system"
API_VERSION = "kueue.x-k8s.io/v1beta2"
CONFIGURATION = {
    "apiVersion": "config.kueue.x-k8s.io/v1beta2",
    "kind": "Configuration",
    "health": {"healthProbeBindAddress": ":8081"},
    "metrics": {"bindAddress": ":8443"},
    "webhook": {"port": 9443},
    "leaderElection": {"leaderElect": False},
    "integrations": {"frameworks": ["batch/job"]},
}
"""Jobs alone are queued; all else is as Kueue comes."""
RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}


@contextlib.contextmanager
def installed(kubeconfig: Path, folder: Path) -> Iterator[None]:
    """Kueue while the block runs, from when its webhooks answer. Whatever is queued then has to be gone at its end."""
    node.import_images(node.instance(), [images.program(f"{IMAGE}:{TAG}", "manager", build.program("kueue"))])
    helm = Helm(folder, kubeconfig)
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump(_values()))
    chart = build.files_of(build.KUEUE, MODULE) / "charts" / "kueue"
    options = ("--create-namespace", f"--values={values}", "--wait", "--timeout=5m")
    try:
        helm.run("install", "kueue", str(chart), f"--namespace={WHERE}", *options)
        eventually(lambda: _answers(kubeconfig), what="Kueue's webhooks", every=1)
        yield
    finally:
        helm.run("uninstall", "kueue", f"--namespace={WHERE}", "--ignore-not-found", "--wait")
        kubectl.run(kubeconfig, "delete", "namespace", WHERE, "--wait=false")


@contextlib.contextmanager
def room_for(kubeconfig: Path, namespace: Namespace, queue: str, **quota: str) -> Iterator[None]:
    """A LocalQueue of the namespace with so much of each resource, in which a higher priority preempts a lower one."""
    resources = [{"name": name, "nominalQuota": amount} for name, amount in quota.items()]
    flavor = {"name": "default", "resources": resources}
    objects = [
        _kueues("ResourceFlavor", "default", {}),
        _kueues(
            "ClusterQueue",
            "wardrobe",
            {
                "namespaceSelector": {},
                "resourceGroups": [{"coveredResources": list(quota), "flavors": [flavor]}],
                "preemption": {"withinClusterQueue": "LowerPriority"},
            },
        ),
        {**_kueues("WorkloadPriorityClass", "urgent"), "value": 1000},
        _kueues("LocalQueue", queue, {"clusterQueue": "wardrobe"}, namespace.name),
    ]
    listed = yaml.safe_dump_all(objects)
    kubectl.run(kubeconfig, "apply", "--server-side", "--filename=-", stdin=listed)
    try:
        yield
    finally:
        _empty(kubeconfig, f"--namespace={namespace.name}")
        kubectl.run(kubeconfig, "delete", "--ignore-not-found", "--filename=-", stdin=listed)


def _empty(kubeconfig: Path, place: str) -> None:
    """Nothing is queued in the namespace, nor held by Kueue's finalizers."""
    kubectl.run(kubeconfig, "delete", "finetunejobs,jobs", "--all", place)

    def gone() -> bool:
        return not kubectl.run(kubeconfig, "get", "workloads", "--output=name", place)

    eventually(gone, what="Kueue letting go of the Workloads", every=1)


def _values() -> Manifest:
    image = {"repository": IMAGE, "tag": TAG, "pullPolicy": "IfNotPresent"}
    manager = {"manager": {"image": image, "resources": RESOURCES}, "readinessProbe": {"initialDelaySeconds": 1}}
    configuration = {"controllerManagerConfigYaml": yaml.safe_dump(CONFIGURATION)}
    return {"controllerManager": manager, "managerConfig": configuration}


def _answers(kubeconfig: Path) -> bool:
    """Whether its webhooks take a queue."""
    flavor = yaml.safe_dump(_kueues("ResourceFlavor", "probe", {}))
    options = ("--filename=-", "--dry-run=server", "--output=name")
    return bool(kubectl.run(kubeconfig, "create", *options, stdin=flavor, check=False))


def _kueues(kind: str, name: str, spec: dict[str, Any] | None = None, namespace: str | None = None) -> Manifest:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata} | ({} if spec is None else {"spec": spec})
