"""What the hospital's adapters are worth: their jobs run on the node, then each adapter on each department's data.

usage: make bench-training        (root; the node that is up, or one of its own; about 8 minutes)

Prints held-out losses of base and adapter per variant, the adapters on the other department's held-out rows, how long
each step took, and the operator's API requests for each life.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from wardrobe.api.meta import Manifest

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import cluster, node_namespaces, operator_process
from support.cluster import Namespace
from support.waiting import eventually

from devcluster import volumes

ROOT = Path(__file__).parents[1]
TANTANILA = ROOT / "examples" / "tantanila"
DEPARTMENTS = ("cardiology", "paediatrics")
WITHIN = 1200.0


def main() -> None:
    """Run the story and print it."""
    with node_namespaces.for_benchmark() as kubeconfig, tempfile.TemporaryDirectory() as folder:
        run(kubeconfig, Path(folder))


def run(kubeconfig: Path, folder: Path) -> None:
    """Everything that needs the node."""
    namespace = Namespace(cluster.connect(kubeconfig), cluster.unique("bench")).create()
    fill(namespace, folder, kubeconfig)
    with operator_process.running(kubeconfig, namespace.name, folder, images=operator_process.NODE_IMAGES) as operator:
        namespace.apply(example("basemodel"))
        namespace.await_condition("BaseModel", "tantanila-base", "Ready", "True", within=WITHIN)
        for department in DEPARTMENTS:
            before = operator.api_requests()
            namespace.apply(example(f"finetunejob-{department}"))
            namespace.await_condition("FineTuneJob", department, "Succeeded", "True", within=WITHIN)
            eventually(lambda: tidy(namespace, department), within=30, what="the claim dropped")  # noqa: B023  called at once
            requests = operator.api_requests() - before
            eventually(
                lambda: all("completionTime" in job["status"] for job in namespace.jobs()), within=60, what="ends"
            )
            tell(namespace, department, requests)
    print_exchange(namespace)


def fill(namespace: Namespace, folder: Path, kubeconfig: Path) -> None:
    """The three claims, as the example's README says."""
    (folder / "models").mkdir()
    (folder / "models" / "tantanila-base").symlink_to(TANTANILA / "model")
    sources = {"wardrobe-store": None, "models": folder / "models", "datasets": TANTANILA / "data"}
    for claim, source in sources.items():
        volumes.create(namespace.name, claim, source=source, kubeconfig=kubeconfig)


def example(name: str) -> Manifest:
    """One of the committed examples."""
    manifest: Manifest = yaml.safe_load((TANTANILA / f"{name}.yaml").read_text())
    return manifest


def tidy(namespace: Namespace, line: str) -> bool:
    """Whether the run's claim on its number is gone."""
    return list(namespace.config_map(f"wardrobe-line-{line}")) == ["next"]


def tell(namespace: Namespace, department: str, requests: int) -> None:
    """One department's scores, times and requests."""
    adapter = next(found for found in namespace.all("Adapter") if found["spec"]["line"] == department)
    print(f"\n{adapter['metadata']['name']}: held-out loss per answer token, base -> adapter")
    for found in adapter["spec"]["evaluations"]:
        base, own = found["base"], found["candidate"]
        whole = change(float(base["loss"]), float(own["loss"]))
        body = change(float(base["bodyLoss"]), float(own["bodyLoss"]))
        print(f"  on {found['variant']:5} whole answer {whole}   body {body}")
    print(f"  wanted: whole answer at least 30 % lower, body lower; API requests of its life: {requests} (at most 60)")
    for job in namespace.jobs():
        if job["metadata"]["labels"]["wardrobe.dev/owner"] == department:
            print(f"  {job['metadata']['labels']['wardrobe.dev/task']:7} {duration(job):4.0f} s, pod start included")


def change(base: float, own: float) -> str:
    """Two losses and their relative difference."""
    return f"{base:.3f} -> {own:.3f} ({(own - base) / base:+.1%})"


def duration(job: Manifest) -> float:
    """Seconds from a Job's start to its end, both as the API has them."""
    status = job["status"]
    begin, end = (cluster.seconds(status[name]) for name in ("startTime", "completionTime"))
    return end - begin


def print_exchange(namespace: Namespace) -> None:
    """Each adapter on the other department's held-out rows, by the trainer's own code in its own environment."""
    store = volumes.folder(namespace.name, "wardrobe-store")
    adapters = {
        found["spec"]["line"]: str(store / found["spec"]["artifact"]["path"]) for found in namespace.all("Adapter")
    }
    data = {
        found["metadata"]["name"]: str(store / "runs" / found["status"]["run"] / "check")
        for found in namespace.all("FineTuneJob")
    }
    order = json.dumps({"model": str(TANTANILA / "model"), "adapters": adapters, "data": data})
    script = ROOT / "benchmarks" / "other_department.py"
    python = "/opt/wardrobe/trainer/bin/python"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([python, str(script), order], check=True, env=environment)


if __name__ == "__main__":
    main()
