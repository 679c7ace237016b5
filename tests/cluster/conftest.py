"""A node for the tests of real pods: the one that is up, or one that lives as long as the tests."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support import cluster, operator_process
from support.cluster import Namespace
from support.hospital import TANTANILA, as_lines, rows
from support.operator_process import NODE_IMAGES, Operator

from devcluster import environments, kubectl, node, volumes
from devcluster.reservation import reserved

REPOSITORY = Path(__file__).parents[2]

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """A node with Wardrobe's kinds; what was up stays up."""
    if os.geteuid() != 0:
        pytest.fail("the node needs root: run as root, or choose other tests with -m 'not node'")
    theirs = node.is_up(node.instance())
    with reserved():
        node.up()
        environments.sync()  # a node that was up may have the environments of yesterday's checkout
        try:
            path = node.instance().kubeconfig
            kubectl.run(path, "apply", f"--filename={REPOSITORY / 'crds'}")
            kubectl.run(path, "wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
            yield path
        finally:
            if not theirs:
                node.down(force=True)


@pytest.fixture(scope="module")
def prepare(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepare]:
    """Make a namespace with filled claims; gone with its volumes after the module's tests."""
    made: list[Namespace] = []

    def prepare(datasets: dict[str, str] | None = None, model: Path = TANTANILA / "model") -> Namespace:
        namespace = Namespace(cluster.connect(kubeconfig), cluster.unique("node")).create()
        made.append(namespace)
        tmp_path = tmp_path_factory.mktemp("claims")
        sources = {"wardrobe-store": None, "models": tmp_path / "models", "datasets": tmp_path / "datasets"}
        fill(tmp_path, datasets or {"rows.jsonl": as_lines(rows("cardiology", 60))}, model)
        for claim, source in sources.items():
            volumes.create(namespace.name, claim, source=source, kubeconfig=kubeconfig)
        return namespace

    yield prepare
    for namespace in made:
        remove(kubeconfig, namespace.name)


def remove(kubeconfig: Path, namespace: str) -> None:
    """Let the namespace and its volumes go, without waiting; their folders stay until the node goes."""
    kubectl.run(kubeconfig, "delete", "namespace", namespace, "--wait=false")
    names = [f"{namespace}.{claim}" for claim in ("wardrobe-store", "models", "datasets")]
    kubectl.run(kubeconfig, "delete", "persistentvolume", *names, "--wait=false")


@pytest.fixture
def operate(kubeconfig: Path, tmp_path: Path) -> Operate:
    """Run an operator beside the cluster, for one namespace, as a context manager."""
    return lambda namespace: operator_process.running(kubeconfig, namespace.name, tmp_path, images=NODE_IMAGES)


def fill(folder: Path, datasets: dict[str, str], model: Path) -> None:
    """The claims' contents before the first mount."""
    (folder / "datasets").mkdir(exist_ok=True)
    for name, text in datasets.items():
        (folder / "datasets" / name).write_text(text)
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / "base").symlink_to(model)
