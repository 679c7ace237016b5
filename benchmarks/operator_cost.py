"""What the operator costs: API requests per reconcile and per life of a run, and memory with 200 jobs.

usage: make bench-operator        (a control plane of its own; an imitated kubelet ends the pods at once)
"""

import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))  # what tests share reads the documented reasons

from support import cluster, in_process, kubelet, operator_process, resources
from support.cluster import Namespace
from support.waiting import eventually

from devcluster import controlplane
from devcluster.controlplane import ControlPlane
from wardrobe.api.meta import Key
from wardrobe.run.progress import WRITES_PER_TRAINING

ROOT = Path(__file__).parents[1]
JOBS = 200


def main() -> None:
    """Print the figures beside what is wanted."""
    with controlplane.start(controller_manager=True) as plane, tempfile.TemporaryDirectory() as folder:
        plane.run("apply", f"--filename={ROOT / 'crds'}")
        plane.run("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
        running, finished = asyncio.run(no_op_requests(plane))
        print(f"no-op reconcile of a running FineTuneJob:  {running:3d} API requests (wanted: at most 3)")
        print(f"no-op reconcile of a finished FineTuneJob: {finished:3d} API requests (wanted: at most 3)")
        print(f"a whole life, from applied to Adapter:     {life_requests(plane, Path(folder)):3d} API requests,")
        progress = f"{WRITES_PER_TRAINING} more tell how far it is"
        print(f"  its Adapter's first reconcile included; {progress} (wanted: at most 50)")
        print(
            f"operator RSS with {JOBS} FineTuneJobs:        {memory(plane, Path(folder)):4.0f} MiB (wanted: below 200)"
        )


def new_namespace(plane: ControlPlane, prefix: str) -> Namespace:
    """With the claims that runs mount."""
    made = Namespace(cluster.connect(plane.kubeconfig), cluster.unique(prefix)).create()
    for claim in ("wardrobe-store", "models", "datasets"):
        made.claim(claim)
    return made


async def no_op_requests(plane: ControlPlane) -> tuple[int, int]:
    """Requests of one reconcile that changes nothing: while training runs, and after the end."""
    namespace = new_namespace(plane, "noop")
    key = Key("FineTuneJob", namespace.name, "heart")
    namespace.apply(resources.base_model())
    namespace.apply(resources.run("heart"))
    with kubelet.serving(namespace.api, namespace.name) as serving:
        serving.answer = lambda task, pod: None if task == "train" else kubelet.succeed(task, pod)
        async with in_process.connection(plane.kubeconfig) as connection:
            kube = in_process.CountingKube(connection)
            await in_process.work_until(kube, namespace.name, lambda: "train" in serving.started)
            running = await settled_requests(kube, key)
            serving.answer = kubelet.succeed
            await in_process.work_until(kube, namespace.name, lambda: ended(namespace))
            return running, await settled_requests(kube, key)


async def settled_requests(kube: in_process.CountingKube, key: Key) -> int:
    """Requests of the first reconcile that writes nothing."""
    while True:
        written, before = kube.written, kube.requests
        await in_process.reconciler(kube).reconcile(key)
        if kube.written == written:
            return kube.requests - before


def ended(namespace: Namespace) -> bool:
    """Whether the run has succeeded."""
    return namespace.condition("FineTuneJob", "heart", "Succeeded").get("status") == "True"


def life_requests(plane: ControlPlane, folder: Path) -> int:
    """Requests of an operator process from one run applied to its number tidied away, its new Adapter included."""
    namespace = new_namespace(plane, "life")
    with (
        kubelet.serving(namespace.api, namespace.name),
        operator_process.running(plane.kubeconfig, namespace.name, folder) as operator,
    ):
        namespace.apply(resources.base_model())
        namespace.await_condition("BaseModel", "base", "Ready", "True")
        before = operator.api_requests()
        namespace.apply(resources.run("heart"))
        eventually(lambda: ended(namespace), within=60, what="the end")
        eventually(lambda: line_is_tidy(namespace), within=10, what="the claim dropped")
        return operator.api_requests() - before


def line_is_tidy(namespace: Namespace) -> bool:
    """Whether the run's claim on its number is gone."""
    return namespace.config_map("wardrobe-line-cardiology") == {"next": "2"}


def memory(plane: ControlPlane, folder: Path) -> float:
    """MiB resident after every job was reconciled."""
    namespace = new_namespace(plane, "memory")
    for number in range(JOBS):
        namespace.apply(resources.run(f"job-{number}", line=f"line-{number}"))
    with operator_process.running(plane.kubeconfig, namespace.name, folder) as operator:
        eventually(lambda: all("status" in found for found in namespace.all("FineTuneJob")), within=120, what="all")
        return operator.resident_bytes() / 2**20


if __name__ == "__main__":
    main()
