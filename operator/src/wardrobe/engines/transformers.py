"""The embedded engine (engine_image): TGI's requests over transformers, PEFT and bitsandbytes.

Adapters come and go at run time through the agent, so the container is the same whatever is loaded.
"""

from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.meta import Manifest
from wardrobe.settings import Settings
from wardrobe_contracts.base import BaseLocation
from wardrobe_contracts.engines import EngineType
from wardrobe_contracts.routes import ENGINE_PORT

DRAIN_SECONDS = 60


def container(spec: AdapterDeploymentSpec, base: BaseLocation, settings: Settings) -> Manifest:
    """Image, arguments and environment; mounts and security are the pod's."""
    arguments = {
        "--model": base.folder,
        "--fingerprint": base.fingerprint,
        "--quantization": spec.quantization.value,
        "--served-name": spec.base_model.name,
        "--host": "127.0.0.1",
        "--port": str(ENGINE_PORT),
        "--drain-seconds": str(DRAIN_SECONDS),
    }
    return {
        "image": settings.engine_images[EngineType.TRANSFORMERS],
        "args": [part for pair in arguments.items() for part in pair],
        "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}, {"name": "HF_HOME", "value": "/tmp/huggingface"}],  # noqa: S108
    }
