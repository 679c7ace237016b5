"""The frozen base in memory, one variant at a time."""

import gc
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import PreTrainedModel

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.exits import Reason
from wardrobe_models import loading
from wardrobe_models.errors import BadBaseError

from .problems import bad_base


def load_base(
    folder: Path,
    variant: Variant,
    accelerator: Accelerator,
    *,
    double_quantization: bool = True,
    dtype: torch.dtype | None = None,
    devices: Mapping[str, int] | None = None,
) -> PreTrainedModel:
    """The base, nothing of it trainable. Raises TaskError where weights are missing in the files."""
    try:
        return loading.load_base(
            folder, variant, accelerator, double_quantization=double_quantization, dtype=dtype, devices=devices
        )
    except BadBaseError as error:
        raise bad_base(
            Reason.BASE_MALFORMED,
            field="spec.baseModel.name",
            value=str(folder),
            rule=str(error),
            next_step="Copy the model again, all its shards from the same revision",
        ) from error


def free_memory() -> None:
    """Give a dropped model's memory back before the next one is loaded."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
