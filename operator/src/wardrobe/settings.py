"""What the operator is told at its start."""

from collections.abc import Mapping
from dataclasses import dataclass

from wardrobe_contracts.engines import EngineType


@dataclass(frozen=True)
class Settings:
    """Settings that reach the things that are built. All have a flag and an environment variable in `__main__`."""

    trainer_image: str
    gateway_image: str
    engine_images: Mapping[EngineType, str]
    """Of the engines that deployments may name, Transformers always among them."""
    user_id: int = 10001
    """uid, gid and fsGroup of every pod that touches the store."""
