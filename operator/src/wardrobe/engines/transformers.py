"""The embedded engine (engine_image): TGI's requests over transformers, PEFT and bitsandbytes.

Adapters come and go at run time through the agent, so the container is the same whatever is loaded.
"""

from collections.abc import Sequence

from wardrobe.api.adapter import AdapterSpec
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.basemodel import ShapeStatus
from wardrobe.api.meta import Manifest
from wardrobe.settings import Settings
from wardrobe_contracts.base import BaseLocation
from wardrobe_contracts.engines import EngineType
from wardrobe_contracts.routes import ENGINE_PORT, BaseShape

from .weight import adapted, matrices
from .wrapped import wrapped

DRAIN_SECONDS = 60
_BYTES = 4
"""Of a number: it keeps adapters in float32, whatever the base computes in."""


def container(spec: AdapterDeploymentSpec, base: BaseLocation, shape: ShapeStatus, settings: Settings) -> Manifest:
    """Image, command and environment; mounts, resources and security are the pod's."""
    del shape
    arguments = {
        "--model": base.folder,
        "--fingerprint": base.fingerprint,
        "--quantization": spec.quantization.value,
        "--served-name": spec.base_model.name,
        "--host": "127.0.0.1",
        "--port": str(ENGINE_PORT),
        "--drain-seconds": str(DRAIN_SECONDS),
        "--max-batch": spec.engine.max_concurrent_requests,
        "--max-total-tokens": spec.engine.context_length,
        "--chat-prelude": base.chat_prelude or None,
    }
    return {
        "image": settings.engine_images[EngineType.TRANSFORMERS],
        "command": wrapped(["wardrobe-engine"]),
        "args": [str(part) for pair in arguments.items() if pair[1] is not None for part in pair],
        "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}, {"name": "HF_HOME", "value": "/tmp/huggingface"}],  # noqa: S108
    }


def unservable(spec: AdapterDeploymentSpec, shape: ShapeStatus) -> str | None:
    """Only what needs more than its one device; which layers it can decode it says itself when it starts."""
    del shape
    if spec.engine.gpus <= 1:
        return None
    return (
        f"spec.engine.gpus is {spec.engine.gpus}: Transformers holds the base on one GPU or none. Write 1, and more "
        "replicas for more requests; or choose another spec.engine.type for a base that one GPU cannot hold"
    )


def unfit(adapter: AdapterSpec) -> None:
    """It takes whatever the trainer makes."""
    del adapter


def weight(spec: AdapterDeploymentSpec, base: BaseShape, adapters: Sequence[AdapterSpec]) -> int:
    """A layer has slots for all, and one for the base, each as wide as the widest that adapts it."""
    del spec
    widest: dict[str, int] = {}
    for adapter in adapters:
        for module in adapted(adapter):
            widest[module] = max(adapter.lora.rank, widest.get(module, 0))
    slot = sum(matrices(rank, [module], base) for module, rank in widest.items())
    return (len(adapters) + 1) * slot * _BYTES
