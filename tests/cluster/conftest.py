"""A node for the tests of real pods: the one that is up, or one that lives as long as the tests."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support import deployed, node_namespaces, operator_process
from support.cluster import Namespace
from support.deployed import Hospital
from support.node_namespaces import Namespaces, Trained
from support.operator_process import NODE_IMAGES, Operator, Operators

from devcluster import environments, kubectl, node
from devcluster.reservation import reserved
from wardrobe.api.meta import Manifest

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]
Serve = Callable[..., Hospital]


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """A node with Wardrobe's kinds; what was up stays up."""
    if os.geteuid() != 0:
        pytest.fail("the node needs root: run as root, or choose other tests with -m 'not node'")
    theirs = node.is_up(node.instance())
    with reserved():
        node.up()
        refuse_other_operators(node.instance().kubeconfig)
        try:
            environments.sync()  # a node that was up may have the environments of yesterday's checkout
            node_namespaces.install_kinds(node.instance().kubeconfig)
            yield node.instance().kubeconfig
        finally:
            if not theirs:
                node.down(force=True)


def refuse_other_operators(kubeconfig: Path) -> None:
    """One that watches all namespaces would work beside that of the tests."""
    found = kubectl.run(kubeconfig, "get", "deployments", "--all-namespaces", "--output=name")
    if "wardrobe-operator" in found:
        pytest.fail("the node has an operator already, of make demo or the chart: make demo-down first")


@pytest.fixture(scope="module")
def prepare(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepare]:
    """Make a namespace with filled claims; gone with its volumes after the module's tests."""
    namespaces = Namespaces(kubeconfig, lambda: tmp_path_factory.mktemp("claims"))
    yield namespaces.prepare
    namespaces.remove()


@pytest.fixture
def operate(kubeconfig: Path, tmp_path: Path) -> Operate:
    """Run an operator beside the cluster, for one namespace, as a context manager."""
    return lambda namespace: operator_process.running(kubeconfig, namespace.name, tmp_path, images=NODE_IMAGES)


@pytest.fixture(scope="session")
def trained(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Three Adapters for all modules that serve."""
    return node_namespaces.trained(kubeconfig, lambda: tmp_path_factory.mktemp("training"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The story before the drills: they serve what it has trained."""
    items.sort(key=lambda item: item.get_closest_marker("drill") is not None)


@pytest.fixture(scope="module")
def operators(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operators]:
    """They end with the module."""
    made = Operators(kubeconfig, lambda: tmp_path_factory.mktemp("operator"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def serve(prepare: Prepare, trained: Trained, operators: Operators) -> Serve:
    """Start a hospital in a namespace of its own, with the trained Adapters."""

    def serve(deployment: Manifest, more: str = "") -> Hospital:
        hospital = Hospital(prepare(store=trained.store), trained.known)
        node_namespaces.adopt(hospital.namespace, trained.adapters)
        operators.begin(hospital.namespace, more)
        deployed.begin(hospital, deployment)
        return hospital

    return serve
