"""`wardrobe-operator`: run the operator in a cluster, or beside one that KUBECONFIG names."""

import logging
import sys
from typing import Literal

import uvloop
from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from wardrobe.runtime import Process, run
from wardrobe.settings import Settings
from wardrobe_contracts.command import CommandLine
from wardrobe_contracts.engines import EngineType


class Options(CommandLine):
    """Runs Wardrobe's operator. --trainer-image is also WARDROBE_TRAINER_IMAGE, and so on, but --port."""

    model_config = SettingsConfigDict(cli_prog_name="wardrobe-operator")

    trainer_image: str = Field(description="image of all training tasks")
    gateway_image: str = Field(description="image of agents and routers")
    engine_image: dict[EngineType, str] = Field(
        description="image of each engine that deployments may name, as Transformers=<image>, which there must be"
    )
    namespaces: str | None = Field(None, description="comma-separated namespaces to watch; unset: all")
    user_id: int = Field(10001, ge=0, description="uid, gid and fsGroup of every pod that touches the store")
    port: int = Field(8080, ge=0, le=65535, description="port of /metrics and /healthz")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")

    @field_validator("engine_image")
    @classmethod
    def _one_for_the_default(cls, images: dict[EngineType, str]) -> dict[EngineType, str]:
        """A deployment that names an engine without one is told so; the one that needs no GPU is for all."""
        default = EngineType.TRANSFORMERS
        if not images.get(default):
            raise ValueError(f"it must have an image for {default.value}: give {default.value}=<image>")
        return {engine: image for engine, image in images.items() if image}


def main() -> None:
    """Parse the command line and run until SIGTERM."""
    options = Options.parse(sys.argv[1:])
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    settings = Settings(
        trainer_image=options.trainer_image,
        gateway_image=options.gateway_image,
        engine_images=options.engine_image,
        user_id=options.user_id,
    )
    namespaces = tuple(name for name in (options.namespaces or "").split(",") if name)
    uvloop.run(run(settings, Process(namespaces=namespaces, port=options.port)))


if __name__ == "__main__":
    main()
