"""Engines: one file each says what its container is. Adding one: a file, a case here, and a dialect in the agent."""

from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.meta import Manifest
from wardrobe.settings import Settings
from wardrobe_contracts.base import BaseLocation
from wardrobe_contracts.engines import EngineType

from . import transformers


def container(spec: AdapterDeploymentSpec, base: BaseLocation, settings: Settings) -> Manifest:
    """The engine's container: image, arguments and environment; mounts and security are the pod's.

    The engine compares the base's files with their fingerprint before it loads them.
    """
    match spec.engine.type:
        case EngineType.TRANSFORMERS:
            return transformers.container(spec, base, settings)
