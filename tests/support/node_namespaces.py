"""Namespaces on the node with the claims that Wardrobe's pods mount, and Adapters trained in one for use in others."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from devcluster import kubectl, node, volumes

from . import cluster, deployed, resources
from .cluster import Manifest, Namespace
from .hospital import TANTANILA, as_lines, rows

CRDS = Path(__file__).parents[2] / "crds"


@contextlib.contextmanager
def for_benchmark() -> Iterator[Path]:
    """The kubeconfig of the node that is up, or of one for the block, with Wardrobe's kinds."""
    theirs = node.is_up(node.instance())
    node.up()
    try:
        install_kinds(node.instance().kubeconfig)
        yield node.instance().kubeconfig
    finally:
        if not theirs:
            node.down()


def install_kinds(kubeconfig: Path) -> None:
    """Wardrobe's kinds, until they can be used."""
    kubectl.run(kubeconfig, "apply", f"--filename={CRDS}")
    kubectl.run(kubeconfig, "wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")


@dataclass
class Namespaces:
    """Makes namespaces with filled claims, and removes them. `folder` gives a new, empty folder."""

    kubeconfig: Path
    folder: Callable[[], Path]
    made: list[Namespace] = field(default_factory=list)

    def prepare(
        self,
        datasets: dict[str, str] | None = None,
        model: Path = TANTANILA / "model",
        store: Path | None = None,
    ) -> Namespace:
        """A namespace with the three claims; the model is `base`, and without datasets there is one, rows.jsonl."""
        namespace = Namespace(cluster.connect(self.kubeconfig), cluster.unique("node")).create()
        self.made.append(namespace)
        folder = self.folder()
        fill(folder, datasets or {"rows.jsonl": as_lines(rows("cardiology", 60))}, model)
        sources = {"wardrobe-store": store, "models": folder / "models", "datasets": folder / "datasets"}
        for claim, source in sources.items():
            volumes.create(namespace.name, claim, source=source, kubeconfig=self.kubeconfig)
        return namespace

    def remove(self) -> None:
        """Let all go, without waiting; the volumes' folders stay until the node goes."""
        for namespace in self.made:
            kubectl.run(self.kubeconfig, "delete", "namespace", namespace.name, "--wait=false")
            names = [f"{namespace.name}.{claim}" for claim in ("wardrobe-store", "models", "datasets")]
            kubectl.run(self.kubeconfig, "delete", "persistentvolume", *names, "--wait=false")


def fill(folder: Path, datasets: dict[str, str], model: Path) -> None:
    """The claims' contents before the first mount."""
    (folder / "datasets").mkdir()
    for name, text in datasets.items():
        (folder / "datasets" / name).write_text(text)
    (folder / "models").mkdir()
    (folder / "models" / "base").symlink_to(model)


@dataclass(frozen=True)
class Trained:
    """A store with adapters, and their Adapters as they may be applied elsewhere."""

    store: Path
    adapters: list[Manifest]


def for_training(namespaces: Namespaces) -> Namespace:
    """A namespace with all that the runs of `deployed.RUNS` ask for."""
    departments = {department for _, department in deployed.RUNS.values()}
    namespace = namespaces.prepare({f"{name}.jsonl": as_lines(rows(name, 48)) for name in departments})
    namespace.apply(resources.base_model())
    return namespace


def train(namespace: Namespace) -> Trained:
    """Three Adapters of two lines, by the operator that runs for this namespace."""
    for together in (("heart-1", "child"), ("heart-2",)):  # a line's numbers tell which run came first
        for name in together:
            namespace.apply(deployed.small_run(name))
        for name in together:
            namespace.await_condition("FineTuneJob", name, "Succeeded", "True", within=400)
    return Trained(volumes.folder(namespace.name, "wardrobe-store"), namespace.all("Adapter"))


def adopt(namespace: Namespace, adapters: list[Manifest]) -> None:
    """Adapters of another namespace, as somebody would promote them from another cluster."""
    namespace.apply(resources.base_model())
    for adapter in adapters:
        kept = {key: adapter[key] for key in ("apiVersion", "kind", "spec")}
        namespace.apply({**kept, "metadata": {"name": adapter["metadata"]["name"]}})
