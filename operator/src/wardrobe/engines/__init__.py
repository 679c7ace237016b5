"""Engines: one file each says what its container is. Adding one: a file, a case here, and a dialect in the agent."""

from wardrobe.api.adapterdeployment import AdapterDeploymentSpec, EngineType
from wardrobe.api.meta import Manifest
from wardrobe.settings import Settings

from . import transformers


def container(spec: AdapterDeploymentSpec, settings: Settings) -> Manifest:
    """The engine's container: image, arguments and environment; mounts and security are the pod's."""
    match spec.engine.type:
        case EngineType.TRANSFORMERS:
            return transformers.container(spec, settings)
