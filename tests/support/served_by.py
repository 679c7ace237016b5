"""The hospital on each engine, for drills that are told of all of them."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from devcluster import node
from wardrobe.api.meta import Manifest
from wardrobe_contracts.engines import EngineType

from . import deployed, on_the_node, tgi, voices
from .deployed import NAME, Hospital
from .node_namespaces import Trained
from .traffic import Known, Traffic

DEPARTMENTS = {"cardiology": "cardiology-v1", "paediatrics": "paediatrics-v1"}
ROUTED = set(DEPARTMENTS.items())
Serve = Callable[..., Hospital]


@dataclass(frozen=True)
class Ward:
    """A hospital on an engine."""

    hospital: Hospital
    engine: EngineType

    def traffic(self, patience: float = 60.0) -> Traffic:
        """As many requests as one replica answers alone, beside its proofs.

        TGI's stand-in decodes its rows one after the other, and the real ones have two cores here.
        """
        per_second = {EngineType.TRANSFORMERS: 3.0, EngineType.VLLM: 2.0, EngineType.TGI: 1.5}
        return self.hospital.traffic(per_second[self.engine], patience=patience)


@contextlib.contextmanager
def served_by(
    engine: EngineType, replicas: int, serve: Serve, trained: Trained, crashes_with: str = ""
) -> Iterator[Ward]:
    """All Ready; in the end its pods are told to leave, so that what comes after has the node for itself.

    TGI may be one that ends at its start with an adapter.
    """
    manifest = _on(engine, deployed.deployment(replicas, **DEPARTMENTS))
    with _gpus(replicas if engine is EngineType.TGI else 0):
        hospital = serve(manifest, _image(engine, crashes_with))
        if manifest["spec"]["quantization"] == "None":
            hospital.known = _learned(engine, trained)
        try:
            yield Ward(hospital, engine)
        finally:
            hospital.namespace.delete("AdapterDeployment", NAME)


@contextlib.contextmanager
def _gpus(count: int) -> Iterator[None]:
    """As many as the replicas take."""
    node.set_gpus(node.instance(), count)
    try:
        yield
    finally:
        node.set_gpus(node.instance(), 0)


def _image(engine: EngineType, crashes_with: str) -> str:
    """The operator's flag."""
    if engine is EngineType.TRANSFORMERS:
        return ""
    image = on_the_node.import_vllm() if engine is EngineType.VLLM else on_the_node.import_tgi(crashes_with)
    return f"--engine-image {engine}={image}"


def _on(engine: EngineType, manifest: Manifest) -> Manifest:
    large = {"resources": {"requests": {"cpu": "100m", "memory": "2Gi"}, "limits": {"memory": "6Gi"}}}
    match engine:
        case EngineType.TRANSFORMERS:
            return manifest
        case EngineType.VLLM:
            return deployed.on_engine(manifest, "None", type="VLLM", pod=large)
        case EngineType.TGI if tgi.REAL:  # without bitsandbytes, which its environment for CPUs has not
            return deployed.on_engine(manifest, "None", type="TGI", gpus=1, pod=large)
        case EngineType.TGI:
            return deployed.on_engine(manifest, type="TGI", gpus=1)


def _learned(engine: EngineType, trained: Trained) -> Known:
    """What adapters answer on the base as published: the real TGI computes in bfloat16, and at times says another word
    for it."""
    if engine is EngineType.TGI:
        return voices.learn_of_tgi(trained.store, trained.adapters)
    return voices.learn(trained.store, trained.adapters, "None")
