"""Method Full: all weights of the base are trained, and another base comes of it."""

import shutil
from collections import Counter
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from wardrobe_contracts.base import Variant
from wardrobe_contracts.base_files import WEIGHTS_INDEX, describing_files
from wardrobe_contracts.training import MODEL_FOLDER, TrainConfig

from .console import say
from .files import named_when_whole
from .launcher import UNFINISHED_FOLDER
from .loading import load_base
from .model_files import tensors, weight_files
from .moments import Tensors

SHARD = "5GB"
_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""In safetensors' names."""


def prepare(config: TrainConfig) -> PreTrainedModel:
    """The base, all of it trainable. Raises TaskError.

    In float32, unless DeepSpeed holds that beside it: steps small against a weight are lost in 16 bits.
    """
    say("loading the base, all of which is trained")
    dtype = torch.float32 if config.deepspeed is None else None
    base = load_base(Path(config.base.folder), Variant.NONE, config.accelerator, dtype=dtype)
    return base.requires_grad_(requires_grad=True)


def save(model: PreTrainedModel | PeftModel, weights: Tensors, output: Path, base: Path) -> None:
    """Write the model as the base is stored, read what it is, and only then give it its name. Raises OSError."""
    unfinished = output / UNFINISHED_FOLDER
    types, most = stored_as(base)
    stored = {name: weight.to(types.get(name, most)) for name, weight in weights.items()} | _buffers(model)
    with named_when_whole(unfinished, output / MODEL_FOLDER):
        model.save_pretrained(str(unfinished), state_dict=stored, max_shard_size=SHARD)
        describe_as(base, unfinished)
        found = tensors(unfinished, weight_files(unfinished))
    say(f"model saved: {len(found)} tensors, {sum(tensor.elements for tensor in found.values()):,} values, {most}")


def stored_as(base: Path) -> tuple[dict[str, torch.dtype], torch.dtype]:
    """Number format of each of the base's tensors, and of most of its values."""
    found, values = tensors(base, weight_files(base)), Counter[str]()
    for tensor in found.values():
        values[tensor.dtype] += tensor.elements
    return {name: _TYPES[tensor.dtype] for name, tensor in found.items()}, _TYPES[values.most_common(1)[0][0]]


def describe_as(base: Path, folder: Path) -> None:
    """Configuration, tokenizer and chat template are the base's own, byte for byte; only weights are new."""
    for name in set(describing_files(folder)) - {WEIGHTS_INDEX}:
        (folder / name).unlink()
    for name in set(describing_files(base)) - {WEIGHTS_INDEX}:
        shutil.copyfile(base / name, folder / name)


def _buffers(model: PreTrainedModel | PeftModel) -> Tensors:
    """What belongs to the model's files and is no weight."""
    weights = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return {name: tensor.cpu() for name, tensor in model.state_dict().items() if name not in weights}
