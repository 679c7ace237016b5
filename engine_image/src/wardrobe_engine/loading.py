"""The frozen base, held in memory in one of its variants."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from bitsandbytes.nn.modules import Linear4bit
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedModel

from wardrobe_contracts.base import Variant

ATTENTION_KINDS = {"full_attention", "sliding_attention"}
"""Kinds of layers whose state is keys and values alone, which is what `cache` can join and split."""


class BadBaseError(Exception):
    """The base cannot be served; the text says why."""


@dataclass(frozen=True)
class Base:
    """A loaded base and what is known of it."""

    model: PreTrainedModel
    tokenizer: Any
    """transformers' tokenizer: untyped there, and of a class that depends on the model."""
    eos: frozenset[int]
    context_length: int

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device


def load(folder: Path, variant: Variant) -> Base:
    """Read a base from disk. Raises BadBaseError, or OSError where files are missing."""
    model = load_model(folder, variant)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    text_config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(text_config, "layer_types", None) or ["full_attention"])
    if other := kinds - ATTENTION_KINDS:
        raise BadBaseError(f"layers of kind {', '.join(sorted(other))} cannot be decoded in one batch here")
    if not getattr(tokenizer, "is_fast", False):
        raise BadBaseError("the tokenizer has no tokenizer.json")
    return Base(model, tokenizer, end_tokens(model, tokenizer), text_config.max_position_embeddings)


def load_model(folder: Path, variant: Variant) -> PreTrainedModel:
    """The base in evaluation mode. Raises BadBaseError where weights are missing in the files."""
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    dtype = compute_dtype(device)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        quantization_config=quantization(variant, dtype),
        device_map={"": device},
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    model: PreTrainedModel = loaded[0]
    if absent := sorted(loaded[1]["missing_keys"]):
        raise BadBaseError(f"the safetensors files lack {', '.join(absent[:3])}, which would be random")
    keep_exact(model)
    model.requires_grad_(requires_grad=False)
    model.eval()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    return model


def compute_dtype(device: torch.device) -> torch.dtype:
    """Type of activations: bfloat16 on a GPU, float32 on CPU, where bfloat16 kernels differ between processors."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def quantization(variant: Variant, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """How bitsandbytes holds the linear layers: as the trainer's assess does, whose scores the probes compare with."""
    # transformers leaves the constructor untyped
    if variant is Variant.INT8:
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    if variant is Variant.NF4:
        return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=dtype,
        )
    return None


def keep_exact(model: nn.Module) -> None:
    """Stop bitsandbytes 0.50 from repacking 4-bit weights into a form that computes in bfloat16 on AVX512 CPUs.

    Scores would differ from those that assess recorded. Must be called before the first forward.
    """
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def end_tokens(model: PreTrainedModel, tokenizer: Any) -> frozenset[int]:
    """Tokens after which an answer ends, by the generation config and the tokenizer."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (*several, tokenizer.eos_token_id) if token is not None)
