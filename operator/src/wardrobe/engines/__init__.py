"""Engines: one file each says what its container is, and what it cannot serve.

Adding one: a file and an entry here, facts in the contracts, and a dialect in the agent.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from wardrobe.api.adapter import AdapterSpec
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.basemodel import ShapeStatus
from wardrobe.api.meta import Manifest
from wardrobe.settings import Settings
from wardrobe_contracts.base import BaseLocation
from wardrobe_contracts.engines import EngineType
from wardrobe_contracts.routes import BaseShape

from . import tgi, transformers, vllm


class Engine(Protocol):
    """What the file of an engine says. A message names field, value, rule and the next step."""

    def container(
        self, spec: AdapterDeploymentSpec, base: BaseLocation, shape: ShapeStatus, settings: Settings
    ) -> Manifest:
        """The engine's container: image, command (see `wrapped`), arguments, environment; the rest is the pod's."""
        ...

    def unservable(self, spec: AdapterDeploymentSpec, shape: ShapeStatus) -> str | None:
        """Why no pod is made by this spec on a base of this shape; None where the engine serves it."""
        ...

    def unfit(self, adapter: AdapterSpec) -> str | None:
        """Why an adapter is not given to the engine, after its name: `has lora.rank 512: ...`; None where it is."""
        ...

    def weight(self, spec: AdapterDeploymentSpec, base: BaseShape, adapters: Sequence[AdapterSpec]) -> int:
        """Bytes that these adapters take in one engine together, over all its GPUs."""
        ...


_ENGINES: Mapping[EngineType, Engine] = {
    EngineType.TRANSFORMERS: transformers,
    EngineType.TGI: tgi,
    EngineType.VLLM: vllm,
}


def container(spec: AdapterDeploymentSpec, base: BaseLocation, shape: ShapeStatus, settings: Settings) -> Manifest:
    return _engine(spec).container(spec, base, shape, settings)


def unservable(spec: AdapterDeploymentSpec, shape: ShapeStatus, settings: Settings) -> str | None:
    """See `Engine.unservable`; what no engine serves comes first."""
    return _without_image(spec, settings) or _too_long(spec, shape) or _engine(spec).unservable(spec, shape)


def unfit(spec: AdapterDeploymentSpec, adapter: AdapterSpec) -> str | None:
    return _engine(spec).unfit(adapter)


def weight(spec: AdapterDeploymentSpec, base: BaseShape, adapters: Sequence[AdapterSpec]) -> int:
    return _engine(spec).weight(spec, base, adapters)


def _engine(spec: AdapterDeploymentSpec) -> Engine:
    return _ENGINES[spec.engine.effective_type]


def _without_image(spec: AdapterDeploymentSpec, settings: Settings) -> str | None:
    engine = spec.engine.effective_type
    if engine in settings.engine_images:
        return None
    how = "" if spec.engine.type else " (by default, as spec.engine.gpus is not 0)"
    return (
        f"spec.engine.type is {engine.value}{how}, and the operator has no image of it: set "
        f"images.engines.{engine.value} in the chart's values (--engine-image {engine.value}=<image>), or choose "
        "another spec.engine.type"
    )


def _too_long(spec: AdapterDeploymentSpec, shape: ShapeStatus) -> str | None:
    wanted = spec.engine.context_length
    if wanted is None or wanted <= shape.context_length:
        return None
    return (
        f"spec.engine.contextLength is {wanted}, and the base was made for {shape.context_length} tokens: beyond them "
        "its answers are noise. Write that number or less, or leave the field out"
    )
