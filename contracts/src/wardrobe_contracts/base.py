"""Bases and scalar types that all contracts share."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A sha256 in the form `sha256:<64 hex digits>`."""


class Order(BaseModel):
    """What a program is told to do. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Record(BaseModel):
    """What a program reports. Unknown fields are skipped, so that versions can differ."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Variant(StrEnum):
    """How the frozen base is held in memory while an adapter answers on it."""

    NONE = "None"
    INT8 = "INT8"
    NF4 = "NF4"


class Method(StrEnum):
    """How a run trains."""

    LORA = "LoRA"
    QLORA = "QLoRA"


class Accelerator(StrEnum):
    """The device a task computes on."""

    CPU = "CPU"
    GPU = "GPU"
