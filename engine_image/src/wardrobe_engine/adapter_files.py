"""An adapter's two files, read and checked whole before anything of the running model is touched."""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors import SafetensorError
from safetensors.torch import load_file

from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE

from .errors import AdapterFilesMissingError, BadAdapterError

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_ACTED_UPON = {
    *("r", "lora_alpha", "use_rslora", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("peft_type", "task_type", "base_model_name_or_path", "init_lora_weights"),
}
_HARMLESS = {"auto_mapping", "peft_version", "revision", "inference_mode", "lora_dropout"}
"""Fields that change nothing at inference."""
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal")
"""Values of init_lora_weights that leave the base's weights as they are; pissa, olora, corda and loftq change them."""

Features = Mapping[str, tuple[int, int]]
"""Linear modules of a base: name to (input features, output features)."""


@dataclass(frozen=True)
class AdapterWeights:
    """A checked adapter on CPU."""

    path: Path
    rank: int
    matrices: dict[str, tuple[torch.Tensor, torch.Tensor]]
    """Module to A (rank, inputs) and B (outputs, rank), both float32, B multiplied by the adapter's scale."""


def read(folder: Path, base_names: tuple[str, ...], features: Features) -> AdapterWeights:
    """Read and check an adapter for a base that goes by `base_names`.

    Raises AdapterFilesMissingError where there is none, BadAdapterError where it cannot be served on this base.
    """
    config = _plain_lora(_read_config(folder), base_names)
    pairs = _pair_up(_read_tensors(folder / ADAPTER_WEIGHTS_FILE))
    for module, (a, b) in pairs.items():
        _require_fits(module, a, b, config.r, features)
    _require_complete(config, pairs.keys(), features)
    scale = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
    matrices = {module: (a.float(), b.float() * scale) for module, (a, b) in pairs.items()}
    _require_finite(matrices)
    return AdapterWeights(folder, config.r, matrices)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / ADAPTER_CONFIG_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AdapterFilesMissingError(f"{folder} has no {ADAPTER_CONFIG_FILE}") from error
    except (OSError, ValueError) as error:
        raise BadAdapterError(f"{ADAPTER_CONFIG_FILE} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise BadAdapterError(f"{ADAPTER_CONFIG_FILE} is no object")
    return config


def _plain_lora(config: dict[str, Any], base_names: tuple[str, ...]) -> LoraConfig:
    """The config as PEFT understands it, where it asks for nothing that is not acted upon here."""
    if config.get("peft_type") != "LORA":
        raise BadAdapterError(f"peft_type is {config.get('peft_type')!r}, only LORA is served")
    if config.get("task_type") not in (None, "CAUSAL_LM"):
        raise BadAdapterError(f"task_type is {config['task_type']!r}, only CAUSAL_LM is served")
    base = config.get("base_model_name_or_path")
    if base and base not in base_names:
        raise BadAdapterError(f"it was trained on the base {base!r}, this engine serves {base_names[0]!r}")
    if config.get("init_lora_weights", True) not in _PLAIN_STARTS:
        raise BadAdapterError(f"init_lora_weights {config['init_lora_weights']!r} presumes another base's weights")
    if used := _unserved(config):
        raise BadAdapterError(f"{ADAPTER_CONFIG_FILE} uses {', '.join(used)}, which is not served unmerged")
    try:
        parsed = LoraConfig(**{name: value for name, value in config.items() if name in _ACTED_UPON})
    except (TypeError, ValueError) as error:
        raise BadAdapterError(f"{ADAPTER_CONFIG_FILE} is not understood: {error}") from error
    if not isinstance(parsed.r, int) or parsed.r < 1:
        raise BadAdapterError(f"r is {parsed.r!r}, a rank is a whole number above 0")
    return parsed


def _unserved(config: dict[str, Any]) -> list[str]:
    """Fields that are set to something else than PEFT's default and that this engine knows nothing of."""
    plain = LoraConfig().to_dict()  # type: ignore[no-untyped-call]  # peft leaves it untyped
    others = config.keys() - _ACTED_UPON - _HARMLESS
    return sorted(name for name in others if config[name] and config[name] != plain.get(name))


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise AdapterFilesMissingError(f"{path} is missing") from error
    except (OSError, SafetensorError) as error:
        raise BadAdapterError(f"{path.name} cannot be read: {error}") from error


def _pair_up(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        match = _KEY.fullmatch(name)
        if match is None:
            raise BadAdapterError(f"{ADAPTER_WEIGHTS_FILE} has {name}, which is no LoRA matrix of a linear layer")
        found.setdefault(match["module"], {})[match["side"]] = tensor
    if not found:
        raise BadAdapterError(f"{ADAPTER_WEIGHTS_FILE} has no tensor")
    if half := sorted(module for module, sides in found.items() if len(sides) != 2):
        raise BadAdapterError(f"{half[0]} has one of its two matrices only")
    return {module: (sides["A"], sides["B"]) for module, sides in found.items()}


def _require_fits(module: str, a: torch.Tensor, b: torch.Tensor, rank: int, features: Features) -> None:
    if module not in features:
        raise BadAdapterError(f"it adapts {module}, which is no linear layer of this base")
    inputs, outputs = features[module]
    if (*a.shape,) != (rank, inputs) or (*b.shape,) != (outputs, rank):
        raise BadAdapterError(
            f"{module} has A of {(*a.shape,)} and B of {(*b.shape,)}, "
            f"rank {rank} on this base needs {(rank, inputs)} and {(outputs, rank)}"
        )


def _require_complete(config: LoraConfig, modules: Collection[str], features: Features) -> None:
    """A file that lost some layers would be served as another adapter than was trained."""
    wanted = (name for name in features if check_target_module_exists(config, name))
    if absent := sorted(name for name in wanted if name not in modules):
        raise BadAdapterError(f"{ADAPTER_WEIGHTS_FILE} lacks {absent[0]}, one of {len(absent)} that its config targets")


def _require_finite(matrices: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """One value that is no number would spoil every row of a batch."""
    for module, pair in matrices.items():
        if not all(bool(torch.isfinite(side).all()) for side in pair):
            raise BadAdapterError(f"{module} holds values that are no numbers")
