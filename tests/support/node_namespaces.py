"""Namespaces on the node with the claims that Wardrobe's pods mount, and Adapters trained in one for use in others."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from devcluster import kubectl, node, volumes
from wardrobe.api.meta import Manifest

from . import cluster, deployed, kept_adapters, operator_process, resources, voices
from .cluster import Namespace
from .deployed import Hospital
from .hospital import TANTANILA, as_lines, rows
from .kept_adapters import Kept
from .operator_process import NODE_IMAGES
from .traffic import Known
from .waiting import HANG

REPOSITORY = Path(__file__).parents[2]


def served_base() -> Manifest:
    """A base whose adapters are measured on all that tests serve in, though nothing serves while they are trained."""
    return resources.base_model(variants=["None", "INT8", "NF4"])


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


@contextlib.contextmanager
def hospital_for_benchmark(replicas: int = 1) -> Iterator[Hospital]:
    """Two departments answered by their first adapters, with the operator beside the node, and a second cardiology."""
    with for_benchmark() as kubeconfig, tempfile.TemporaryDirectory() as folder:
        namespaces = Namespaces(kubeconfig, lambda: Path(tempfile.mkdtemp(dir=folder)))
        made = trained(kubeconfig, namespaces.folder)
        hospital = Hospital(namespaces.prepare(store=made.store), made.known)
        adopt(hospital.namespace, made.adapters)
        with operator_process.running(kubeconfig, hospital.namespace.name, Path(folder), images=NODE_IMAGES):
            departments = {"cardiology": "cardiology-v1", "paediatrics": "paediatrics-v1"}
            deployed.begin(hospital, deployed.deployment(replicas, **departments))
            yield hospital
        namespaces.remove()


def install_kinds(kubeconfig: Path) -> None:
    """Wardrobe's kinds, until they can be used."""
    kubectl.run(kubeconfig, "apply", f"--filename={REPOSITORY / 'crds'}")
    kubectl.run(kubeconfig, "wait", "crd", "--all", "--for=condition=Established", "--timeout=120s")


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
    known: Known
    """What they answer."""


def trained(kubeconfig: Path, folder: Callable[[], Path]) -> Trained:
    """Three Adapters to serve elsewhere. They are trained only where none are kept that would be the same."""
    if kept_adapters.find(_key()) is None:
        namespaces = Namespaces(kubeconfig, folder)
        namespace = for_training(namespaces)
        with operator_process.running(kubeconfig, namespace.name, folder(), images=NODE_IMAGES):
            train(namespace)
        namespaces.remove()
    kept = kept_adapters.find(_key())
    assert kept is not None
    return Trained(kept.store, kept.adapters, voices.learn(kept.store, kept.adapters))


def _key() -> str:
    manifests = [served_base(), *map(deployed.small_run, deployed.RUNS)]
    return kept_adapters.digest(REPOSITORY, TANTANILA / "model", _datasets(), manifests)


def _datasets() -> dict[str, str]:
    """Of the runs of `deployed.RUNS`."""
    departments = {department for _, department in deployed.RUNS.values()}
    return {f"{name}.jsonl": as_lines(rows(name, 48)) for name in departments}


def for_training(namespaces: Namespaces) -> Namespace:
    """A namespace with all that the runs of `deployed.RUNS` ask for."""
    namespace = namespaces.prepare(_datasets())
    namespace.apply(served_base())
    return namespace


def train(namespace: Namespace) -> Trained:
    """Three Adapters of two lines, by the operator that runs for this namespace; kept for who only serves."""
    for together in (("heart-1", "child"), ("heart-2",)):  # a line's numbers tell which run came first
        for name in together:
            namespace.apply(deployed.small_run(name))
        for name in together:
            namespace.await_condition("FineTuneJob", name, "Succeeded", "True", within=2 * HANG)
    store, adapters = volumes.folder(namespace.name, "wardrobe-store"), namespace.all("Adapter")
    kept_adapters.keep(_key(), Kept(store, adapters))
    return Trained(store, adapters, voices.learn(store, adapters))


def adopt(namespace: Namespace, adapters: list[Manifest]) -> None:
    """Adapters of another namespace, with a copy of its store, as if this one's own runs had made them."""
    namespace.apply(served_base())
    for adapter in adapters:
        kept = {key: adapter[key] for key in ("apiVersion", "kind", "spec")}
        namespace.apply({**kept, "metadata": {key: adapter["metadata"][key] for key in ("name", "labels")}})
