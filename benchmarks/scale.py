"""Many runs at once: how fast they go from applied to the Adapter, and what each costs the operator.

usage: make bench-scale JOBS=500      (a control plane of its own; the kubelet is imitated, in a process of its own)

As many plain Jobs go through the same control plane first: what remains when they are taken away is the operator's.
Requests and memory are the operator process's own and hold anywhere. Rates hold on a quiet machine only; so does CPU,
in part: cores that others use as well are slower, which the plain Jobs' rate tells.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))  # what tests share reads the documented reasons

import aiohttp
from kubernetes.aio import client, config
from support import cluster, operator_process, resources
from support.cluster import Namespace
from support.operator_process import Operator
from support.waiting import eventually

from devcluster import controlplane
from devcluster.controlplane import ControlPlane

ROOT = Path(__file__).parents[1]
AT_ONCE = 16
"""Objects that are created at the same time."""
DEADLINE_SECONDS = 1800
"""For each part; a machine that is busy with other things is slow."""
QUIET_SECONDS = 3.0
"""A restarted operator that asked nothing for so long has seen everything."""
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
RUNS = "/apis/wardrobe.dev/v1alpha1/namespaces/{}/finetunejobs"
ADAPTERS = "/apis/wardrobe.dev/v1alpha1/namespaces/{}/adapters"
JOBS = "/apis/batch/v1/namespaces/{}/jobs"


def main() -> None:
    """Print the figures beside what is wanted."""
    jobs = int(sys.argv[1])
    with controlplane.start(controller_manager=True) as plane, tempfile.TemporaryDirectory() as folder:
        plane.run("apply", f"--filename={ROOT / 'crds'}")
        plane.run("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
        with kubelet(plane):
            asyncio.run(measure(plane, jobs, Path(folder)))


@contextmanager
def kubelet(plane: ControlPlane) -> Iterator[None]:
    """The imitated kubelet."""
    command = [sys.executable, str(ROOT / "benchmarks" / "pods_that_end.py"), str(plane.kubeconfig)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


async def measure(plane: ControlPlane, jobs: int, folder: Path) -> None:
    """Plain Jobs, then runs under an operator, then another operator on what the first one left."""
    async with connection(plane) as api:
        namespace = new_namespace(plane)
        began = time.monotonic()
        counted = asyncio.create_task(api.count(JOBS.format("plain"), jobs, ended=True))
        await api.create(JOBS.format("plain"), [plain_job(number) for number in range(jobs)])
        print(f"{jobs} plain Jobs, created to Complete:  {jobs / (await counted - began):6.1f}/s")
        await lives(plane, api, namespace, jobs, folder)
        restart(plane, namespace, jobs, folder)


async def lives(plane: ControlPlane, api: "Api", namespace: Namespace, jobs: int, folder: Path) -> None:
    """Runs from applied to the Adapter."""
    with running(plane, namespace, folder) as operator:
        namespace.apply(resources.base_model())
        await asyncio.to_thread(namespace.await_condition, "BaseModel", "base", "Ready", "True")
        before, began = Spent.of(operator), time.monotonic()
        first = asyncio.create_task(api.count(JOBS.format(namespace.name), jobs, label="wardrobe.dev/task=check"))
        whole = asyncio.create_task(api.count(ADAPTERS.format(namespace.name), jobs))
        manifests = [resources.run(f"run-{number}", line=f"line-{number}") for number in range(jobs)]
        await api.create(RUNS.format(namespace.name), manifests)
        print(f"{jobs} runs, created to the first Job:     {jobs / (await first - began):6.1f}/s  (wanted: 60)")
        print(f"{jobs} runs, created to the Adapter:       {jobs / (await whole - began):6.1f}/s  (wanted: 15)")
        await asyncio.to_thread(quiet, operator)
        spent = Spent.of(operator) - before
        print(f"operator, per run:  {1000 * spent.cpu / jobs:6.1f} ms of CPU (wanted: 40)")
        print(f"                    {spent.requests / jobs:6.1f} API requests")
        print(f"operator RSS:       {operator.resident_bytes() / 2**20:6.0f} MiB (wanted: 150)")


def restart(plane: ControlPlane, namespace: Namespace, jobs: int, folder: Path) -> None:
    """Another operator begins where all runs have ended."""
    with running(plane, namespace, folder) as operator:
        quiet(operator)
        spent = Spent.of(operator)
        print(f"after a restart:    {spent.requests / jobs:6.1f} API requests per ended run (wanted: 2)")
        print(f"                    {1000 * spent.cpu / jobs:6.1f} ms of CPU per ended run")
        print(f"                    {operator.resident_bytes() / 2**20:6.0f} MiB (wanted: 150)")


@contextmanager
def running(plane: ControlPlane, namespace: Namespace, folder: Path) -> Iterator[Operator]:
    """The operator's process; $WARDROBE_BENCH_MODULE may name a wrapper of it, such as a profiler's."""
    module = os.environ.get("WARDROBE_BENCH_MODULE", "wardrobe")
    with operator_process.running(plane.kubeconfig, namespace.name, folder, module=module) as operator:
        yield operator


def quiet(operator: Operator) -> None:
    """Wait until no request was made for a while."""
    last, since = -1, time.monotonic()

    def silent() -> bool:
        nonlocal last, since
        now = operator.api_requests()
        if now != last or now == 0:
            last, since = now, time.monotonic()
        return time.monotonic() - since > QUIET_SECONDS

    eventually(silent, within=DEADLINE_SECONDS, what="a quiet operator", every=0.5)


@dataclass(frozen=True)
class Spent:
    """What an operator's process has used since its start."""

    cpu: float
    """Seconds."""
    requests: int

    @classmethod
    def of(cls, operator: Operator) -> "Spent":
        """As of now."""
        fields = Path(f"/proc/{operator.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return cls(ticks / os.sysconf("SC_CLK_TCK"), operator.api_requests())

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent(self.cpu - before.cpu, self.requests - before.requests)


def new_namespace(plane: ControlPlane) -> Namespace:
    """With the claims that runs mount; and one for plain Jobs."""
    api = cluster.connect(plane.kubeconfig)
    Namespace(api, "plain").create()
    made = Namespace(api, "scale").create()
    for claim in ("wardrobe-store", "models", "datasets"):
        made.claim(claim)
    return made


def plain_job(number: int) -> dict[str, Any]:
    """A Job of one pod that the restricted profile takes."""
    container = {
        "name": "task",
        "image": "none",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"plain-{number}"}, "spec": spec}


@dataclass(frozen=True)
class Api:
    """Creates many, and counts many, at little cost."""

    session: aiohttp.ClientSession
    host: str

    async def create(self, path: str, manifests: list[dict[str, Any]]) -> None:
        """A few at a time."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(manifest: dict[str, Any]) -> None:
            async with slots, self.session.post(f"{self.host}{path}", json=manifest) as answer:
                answer.raise_for_status()

        await asyncio.gather(*(one(manifest) for manifest in manifests))

    async def count(self, path: str, wanted: int, *, label: str = "", ended: bool = False) -> float:
        """When the watch had told of so many; of a Job's end, where ends are counted."""
        seen: set[str] = set()
        headers = {} if ended else {"Accept": METADATA_ONLY}
        query = {"watch": "true", "labelSelector": label, "timeoutSeconds": str(DEADLINE_SECONDS)}
        async with self.session.get(f"{self.host}{path}", params=query, headers=headers, timeout=None) as stream:
            async for line in stream.content:
                found = json.loads(line)["object"]
                if not ended or found.get("status", {}).get("succeeded"):
                    seen.add(found["metadata"]["name"])
                if len(seen) == wanted:
                    return time.monotonic()
        raise TimeoutError(f"{len(seen)} of {wanted} at {path}")


@asynccontextmanager
async def connection(plane: ControlPlane) -> AsyncIterator[Api]:
    """With the rights of the control plane's administrator."""
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(plane.kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as made, made.rest_client._create_pool_manager() as session:
        yield Api(session, configuration.host)


if __name__ == "__main__":
    main()
