"""Command line and environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt
from pydantic_settings import SettingsConfigDict

from wardrobe_contracts.base import Fingerprint, Variant
from wardrobe_contracts.command import CommandLine
from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_contracts.routes import ENGINE_PORT


class Options(CommandLine):
    """Serves one base with many LoRA adapters. --max-batch is also WARDROBE_ENGINE_MAX_BATCH, and so on, but --port."""

    model_config = SettingsConfigDict(cli_prog_name="wardrobe-engine", env_prefix="WARDROBE_ENGINE_")

    model: Path = Field(description="folder of the base, with tokenizer and chat template")
    quantization: Literal[Variant.NONE, Variant.INT8, Variant.NF4, Variant.FP4] = Field(
        default=Variant.NONE, description="how the base is held"
    )
    fingerprint: Fingerprint | None = Field(
        default=None, description="the base's as it was inspected; other files are not loaded"
    )
    chat_prelude: str = Field(default="", description="what stands before the chat template, as inspection found it")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=ENGINE_PORT, ge=0, le=65535, description="port to listen on")
    max_batch: PositiveInt = Field(
        default=ENGINES[EngineType.TRANSFORMERS].batch, description="requests that are decoded together"
    )
    max_waiting: PositiveInt = Field(default=128, description="requests that may wait beside those; more get 429")
    max_batch_total_tokens: PositiveInt = Field(
        default=32_768,
        description="tokens of a batch, its rows times the longest of them; one request alone may have more. "
        "Each takes the keys and values of all layers: 6 KiB with the example's base, 128 KiB with a Llama of 8B, "
        "4 GiB then",
    )
    max_total_tokens: PositiveInt | None = Field(
        default=None, description="tokens of one request, prompt and answer; unset: the model's context length"
    )
    served_name: str | None = Field(default=None, description="what clients call the base; unset: the folder's name")
    drain_seconds: NonNegativeFloat = Field(
        default=60.0, description="seconds to finish accepted requests after SIGTERM"
    )

    @property
    def base_name(self) -> str:
        """What clients call the base."""
        return self.served_name or self.model.resolve().name
