"""Which cluster: the development cluster's node, or one that the caller names. Nothing else is ever touched."""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import devcluster
from devcluster import debian, kubeconfig, node

from . import commands, console
from .cluster import EXAMPLES, REPOSITORY, Cluster
from .console import DemoError

DEVCLUSTER = ".venv/bin/devcluster"
CLAIMS = {
    "models": "the folder tantanila-base, with what examples/tantanila/model holds",
    "datasets": "what examples/tantanila/data holds",
    "wardrobe-store": "nothing yet; Wardrobe keeps runs and adapters in it",
}


def refuse_another(named: str | None, ours: Path) -> None:
    """Raise where KUBECONFIG is somebody's own and nobody said to use it."""
    if named and Path(named) != ours:
        raise DemoError(
            f"KUBECONFIG is {named}: shall the demo run there? Then name its context: make demo CONTEXT=<name>. "
            "For the development cluster of this machine: unset KUBECONFIG"
        )


def development() -> Cluster:
    """The node of this machine, with its programs built. Raises DemoError, before it begins, where that cannot be."""
    ours = node.instance().kubeconfig
    refuse_another(os.environ.get("KUBECONFIG"), ours)
    if os.geteuid() != 0:
        raise DemoError("a node on this machine needs root: run as root, or on a cluster of your own (CONTEXT=<name>)")
    debian.ensure()
    with console.going_on("building Kubernetes, CoreDNS and Helm from Go modules, about 10 minutes the first time"):
        commands.output([str(REPOSITORY / DEVCLUSTER), "build"], {})
    return Cluster(str(devcluster.kubectl_path()), str(devcluster.helm_path()), {"KUBECONFIG": str(ours)})


def another(context: str) -> Cluster:
    """The caller's own cluster, by his own programs. Raises DemoError where he has none, or for an unknown context."""
    kubectl, helm = _program("kubectl"), _program("helm")
    known = commands.output([kubectl, "config", "get-contexts", "-o", "name"], {}).split()
    if context not in known:
        raise DemoError(f"there is no context {context}; KUBECONFIG has: {', '.join(known) or 'none'}")
    return Cluster(kubectl, helm, {}, context=context, reachable=False)


def _program(name: str) -> str:
    if (found := shutil.which(name)) is None:
        raise DemoError(f"there is no {name} on PATH, and the demo on a cluster of your own works by it: install it")
    return found


def start_node(cluster: Cluster) -> None:
    """`devcluster up`, and volumes with the examples' files."""
    console.command(f"{DEVCLUSTER} up")
    commands.run([str(REPOSITORY / DEVCLUSTER), "up"], {}, "starting the node")
    for line in exports(cluster):
        console.command(line)
    console.tell("The claims' files: the base as the folder tantanila-base of models, the rows in datasets.")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tantanila-base").symlink_to(REPOSITORY / EXAMPLES / "model")
        sources = {"models": Path(folder), "datasets": REPOSITORY / EXAMPLES / "data", "wardrobe-store": None}
        for claim, source in sources.items():
            _volume(cluster, claim, source)


def _volume(cluster: Cluster, claim: str, source: Path | None) -> None:
    if cluster.exists("pvc", claim):
        console.done(f"the claim {claim} is there")
        return
    arguments = ["volume", cluster.namespace, claim, *(["--from", str(source)] if source else [])]
    console.command(f"{DEVCLUSTER} {' '.join(arguments)}")
    commands.run([str(REPOSITORY / DEVCLUSTER), *arguments], {}, "making the claim")


def exports(cluster: Cluster) -> list[str]:
    """What a shell needs to talk to the node."""
    folder = Path(cluster.kubectl).parent
    return [f"export KUBECONFIG={cluster.environment['KUBECONFIG']}", f"export PATH={folder}:$PATH"]


def check_claims(cluster: Cluster) -> None:
    """On a cluster that is not ours the claims are made by its people. Raises DemoError."""
    missing = [name for name in CLAIMS if not cluster.exists("pvc", name)]
    if not missing:
        console.done(f"the claims {', '.join(CLAIMS)} are there")
        return
    wanted = "\n".join(f"  {name}: {CLAIMS[name]}" for name in missing)
    raise DemoError(
        f"the namespace {cluster.namespace} of context {cluster.context} lacks PersistentVolumeClaims. Make them "
        f"(kubectl create namespace {cluster.namespace} first), fill them, and run this again:\n{wanted}"
    )


def operator_runs(cluster: Cluster) -> bool:
    """Whether the chart's operator is Ready."""
    found = json.loads(cluster.read("get", "deployments", "-o", "json"))["items"]
    return any(
        item["metadata"]["name"] == "wardrobe-operator" and item.get("status", {}).get("availableReplicas")
        for item in found
    )


def install(cluster: Cluster, values: Path | None) -> None:
    """The chart; one that runs stays as it is unless values are named for it.

    Raises DemoError where nobody said which images a cluster of somebody's own can pull.
    """
    operators = cluster.elsewhere("wardrobe")
    if values is None and operator_runs(operators):
        console.done("Wardrobe's operator runs in the namespace wardrobe, and stays as it is")
        return
    chosen = _values(cluster, values)
    arguments = ["upgrade", "--install", "wardrobe", "charts/wardrobe", "-n", "wardrobe", "--create-namespace", *chosen]
    where = ["--kube-context", cluster.context] if cluster.context else []
    console.command(" ".join(["helm", *where, *arguments]))
    os.chdir(REPOSITORY)  # as typed
    with console.going_on("installing the chart"):
        commands.output([cluster.helm, *where, *arguments], cluster.environment)
    rollout = ("rollout", "status", "deployment/wardrobe-operator", "--timeout=5m")
    operators.watch(*rollout, text="waiting for the operator")


def _values(cluster: Cluster, values: Path | None) -> list[str]:
    if cluster.reachable:
        return ["--set", "images.registry=localhost", "--set", "images.tag=dev"]
    if values is None:
        raise DemoError(
            f"Wardrobe is not in the namespace wardrobe of context {cluster.context}. To install it, say where that "
            "cluster finds the images: push what `docker build --target` makes of operator, gateway, trainer and "
            "engine, and name a values file with at least\n  images: {registry: registry.hospital.example/wardrobe}\n"
            f"by make demo CONTEXT={cluster.context} VALUES=<file>; charts/wardrobe/values.yaml has all settings"
        )
    return ["-f", str(values)]


def print_exports() -> None:
    """For `make kubeconfig`. Raises DemoError where the node is not up."""
    ours = node.instance().kubeconfig
    if not ours.is_file():
        raise DemoError("the development cluster is not up: make demo, or .venv/bin/devcluster up")
    cluster = Cluster(str(devcluster.kubectl_path()), "", {"KUBECONFIG": str(ours)})
    for line in exports(cluster):
        console.say(line)
    sys.stderr.write(f'# context {kubeconfig.CONTEXT}. To use it in this shell: eval "$(make kubeconfig)"\n')
