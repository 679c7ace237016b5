"""The frozen base, held in memory in one of its variants."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn.modules import Linear4bit
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from wardrobe_contracts.base import Accelerator, Variant

from .errors import BadBaseError

NAMED = 3
"""How many of the missing tensors an error names."""


def load_base(
    folder: Path,
    variant: Variant,
    accelerator: Accelerator,
    *,
    double_quantization: bool = True,
    dtype: torch.dtype | None = None,
    devices: Mapping[str, int | torch.device] | None = None,
) -> PreTrainedModel:
    """The base in evaluation mode, nothing of it trainable. Raises BadBaseError where weights lack in the files.

    `dtype` is another than that of activations, where all weights are to be trained. `devices` says by module where
    the base goes that one device cannot hold; accelerate's hooks then take what is computed from one to the next.
    """
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype or compute_dtype(accelerator),
        quantization_config=quantization(variant, accelerator, double_quantization=double_quantization),
        # DeepSpeed places weights itself where it partitions them while they are loaded
        device_map=None if is_deepspeed_zero3_enabled() else dict(devices or {"": device(accelerator)}),  # type: ignore[no-untyped-call]
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    model: PreTrainedModel = loaded[0]
    if absent := sorted(loaded[1]["missing_keys"]):
        named = ", ".join(absent[:NAMED])
        raise BadBaseError(f"the safetensors files lack {len(absent)} tensors, which would be random: {named}")
    keep_weights_in_place(model)
    model.requires_grad_(requires_grad=False)
    model.train(mode=False)
    return model


def skeleton(folder: Path) -> PreTrainedModel:
    """The base's modules with the shapes of their weights and none of these: it takes no memory to speak of."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]  # it has no types
            config, trust_remote_code=False
        )
    return model


def compute_dtype(accelerator: Accelerator) -> torch.dtype:
    """Type of activations: bfloat16 where tensor cores want it, float32 on CPU.

    On CPU the bfloat16 kernels (AMX) differ between processors, and with them every score.
    """
    return torch.bfloat16 if accelerator is Accelerator.GPU else torch.float32


def device(accelerator: Accelerator) -> torch.device:
    """The one device of a process. Raises RuntimeError where a GPU is asked for and none is visible."""
    if accelerator is Accelerator.GPU:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def quantization(variant: Variant, accelerator: Accelerator, *, double_quantization: bool) -> BitsAndBytesConfig | None:
    """How bitsandbytes is to hold the linear layers; None leaves them as they are."""
    # transformers leaves the constructor untyped
    if variant is Variant.INT8:
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    if variant in {Variant.NF4, Variant.FP4}:
        dtype = compute_dtype(accelerator)
        return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type=variant.value.lower(),
            bnb_4bit_use_double_quant=double_quantization,
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=dtype,
        )
    return None


def keep_weights_in_place(model: nn.Module) -> None:
    """Stop bitsandbytes 0.50 from repacking 4-bit weights when it first runs them for inference on an AVX512 CPU.

    It does not undo that for training, which then goes on with wrong weights and without an error; the packed form
    also computes in bfloat16. Must be called before the first forward.
    """
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
