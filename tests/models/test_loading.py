"""A base in a variant: the same weights and the same arithmetic in whatever program loads it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from safetensors.torch import load_file, save_file
from torch import nn

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_models.errors import BadBaseError
from wardrobe_models.loading import compute_dtype, load_base

KINDS = {Variant.NONE: nn.Linear, Variant.INT8: Linear8bitLt, Variant.NF4: Linear4bit, Variant.FP4: Linear4bit}


@pytest.mark.parametrize("variant", list(Variant))
def test_a_base_is_frozen_in_its_variant(base_folder: Path, variant: Variant) -> None:
    base = load_base(base_folder, variant, Accelerator.CPU)
    assert type(base.get_submodule("model.layers.0.mlp.up_proj")) is KINDS[variant]
    assert not any(parameter.requires_grad for parameter in base.parameters())
    assert not any(module.training for module in base.modules())
    assert base.get_submodule("model.layers.0.input_layernorm").weight.dtype is torch.float32


def test_nf4_computes_in_float32_on_every_processor(base_folder: Path) -> None:
    """Where bitsandbytes repacks weights it computes in bfloat16, which moves a logit by some hundredths."""
    quantized = load_base(base_folder, Variant.NF4, Accelerator.CPU)
    plain = load_base(base_folder, Variant.NONE, Accelerator.CPU)
    for name, module in quantized.named_modules():
        if isinstance(module, Linear4bit):
            packed: Any = module.weight  # a Params4bit, which torch types as a Tensor
            weight = dequantize_4bit(packed.data, packed.quant_state)
            plain.get_submodule(name).weight = nn.Parameter(weight, requires_grad=False)
    ids = torch.tensor([[10, 20, 30, 40, 50]])
    with torch.inference_mode():
        for length in (1, 5):
            found, expected = (model(ids[:, :length]).logits for model in (quantized, plain))
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_activations_are_exact_on_processors_and_short_on_gpus() -> None:
    assert compute_dtype(Accelerator.CPU) is torch.float32
    assert compute_dtype(Accelerator.GPU) is torch.bfloat16


def test_weights_that_lack_tensors(base_folder: Path, tmp_path: Path) -> None:
    """They would be initialised at random."""
    folder = Path(shutil.copytree(base_folder, tmp_path / "base"))
    tensors = load_file(folder / "model.safetensors")
    for layer in range(4):
        del tensors[f"model.layers.{layer}.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadBaseError, match=r"lack 4 tensors.*model\.layers\.2\.mlp\.up_proj\.weight$"):
        load_base(folder, Variant.NONE, Accelerator.CPU)
