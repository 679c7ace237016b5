"""LoRA adapters in PEFT's file format, made with numpy: small, random, the same for the same seed; sane or not."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wardrobe_contracts.engines.tgi import ADAPTED_MODULES
from wardrobe_contracts.routes import BaseShape
from wardrobe_gateway.agent.tgi.forms import dimensions, matrix_name

Array = NDArray[Any]
ATTENTION = ADAPTED_MODULES[:4]
TYPES = {"float32": "F32", "float16": "F16", "float64": "F64", "uint16": "BF16"}
"""numpy has no bfloat16: what holds it stands for it."""


def base_shape(model: Path) -> BaseShape:
    """The sizes of a base in its folder."""
    config = json.loads((model / "config.json").read_text())
    return BaseShape(
        model_type=config["model_type"],
        layers=config["num_hidden_layers"],
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        attention_heads=config["num_attention_heads"],
        key_value_heads=config["num_key_value_heads"],
        head_dim=config["head_dim"],
    )


def matrices(
    base: BaseShape, rank: int, modules: Iterable[str], layers: Iterable[int] | None = None, seed: int = 0
) -> dict[str, Array]:
    """A and B of each module, float32."""
    random = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for layer in range(base.layers) if layers is None else layers:
        for module in modules:
            inputs, outputs = dimensions(module, base)
            a = random.standard_normal((rank, inputs)) / np.sqrt(inputs)
            b = random.standard_normal((outputs, rank)) * 0.1 / np.sqrt(rank)
            found[matrix_name(layer, module, "A")] = a.astype(np.float32)
            found[matrix_name(layer, module, "B")] = b.astype(np.float32)
    return found


def write(folder: Path, tensors: Mapping[str, Array], rank: int, alpha: float = 16, **config: Any) -> Path:
    """An adapter with PEFT's config for it."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = sorted({name.split(".")[-3] for name in tensors})
    text = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": alpha, "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps({**text, **config}))
    save(folder / "adapter_model.safetensors", tensors)
    return folder


def save(path: Path, tensors: Mapping[str, Array], edit: Callable[[dict[str, Any]], object] | None = None) -> None:
    """A safetensors file, with a header that `edit` has changed."""
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        place = {"shape": list(tensor.shape), "data_offsets": [end, end + tensor.nbytes]}
        header[name] = {"dtype": TYPES[str(tensor.dtype)], **place}
        end += tensor.nbytes
    if edit:
        edit(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensor.tobytes() for tensor in tensors.values()))


def load(path: Path) -> dict[str, Array]:
    """What is in a safetensors file of float32, float16 or bfloat16, which comes as float32."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {name: _array(data[start:], said) for name, said in header.items()}


def _array(data: bytes, said: dict[str, Any]) -> Array:
    begin, end = said["data_offsets"]
    if said["dtype"] == "BF16":
        wide = np.frombuffer(data[begin:end], np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(said["shape"])
    types = {short: name for name, short in TYPES.items()}
    return np.frombuffer(data[begin:end], types[said["dtype"]]).reshape(said["shape"])
