"""An adapter's two files: whether they are whole, sane, plain LoRA, and made for a base."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_ACTED_UPON = {
    *("r", "lora_alpha", "use_rslora", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("peft_type", "task_type", "base_model_name_or_path", "init_lora_weights"),
}
_HARMLESS = {"auto_mapping", "peft_version", "revision", "inference_mode", "lora_dropout"}
"""Fields that change nothing at inference."""
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal")
"""Values of init_lora_weights that leave the base's weights as they are; pissa, olora, corda and loftq change them."""

_PICKLES = (b"PK\x03\x04", b"\x80")
"""How they begin."""
_TYPES = {torch.float64, torch.float32, torch.float16, torch.bfloat16}
"""Of weights."""

Features = Mapping[str, tuple[int, int]]
"""Linear modules of a base: name to (input features, output features)."""


class AdapterFaultError(Exception):
    """The files are no adapter that can be served; the text says why."""


class AdapterMissingError(AdapterFaultError):
    """One of the files is not there."""


class NotFiniteError(AdapterFaultError):
    """Weights are no numbers."""


@dataclass(frozen=True)
class Adapter:
    """Plain LoRA of one rank, whole and finite."""

    config: dict[str, Any]
    """As it stands in the file."""
    lora: LoraConfig
    """As PEFT understands it."""
    matrices: dict[str, tuple[torch.Tensor, torch.Tensor]]
    """Module to A (rank, inputs) and B (outputs, rank), on CPU."""

    @property
    def features(self) -> Features:
        """Of the adapted modules."""
        return {module: (a.shape[1], b.shape[0]) for module, (a, b) in self.matrices.items()}


def read(folder: Path) -> Adapter:
    """Read and check both files. Raises AdapterFaultError."""
    config = _read_config(folder / ADAPTER_CONFIG_FILE)
    lora = _plain_lora(config)
    matrices = _pair_up(_read_tensors(folder / ADAPTER_WEIGHTS_FILE), lora.r)
    _require_finite(matrices)
    return Adapter(config, lora, matrices)


def linear_features(model: nn.Module) -> Features:
    """What an adapter of this base may adapt."""
    linear = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
    return {name: (module.in_features, module.out_features) for name, module in linear}


def require_fits(adapter: Adapter, base: Features) -> None:
    """The base must have the adapted modules, and the files all that their config targets. Raises AdapterFaultError.

    A file that lost some layers would be served as another adapter than was trained.
    """
    for module, features in adapter.features.items():
        if module not in base:
            raise AdapterFaultError(f"it adapts {module}, which is no linear layer of this base")
        if features != base[module]:
            what = f"{features} input and output features, on this base it has {base[module]}"
            raise AdapterFaultError(f"it adapts {module} with {what}")
    wanted = (name for name in base if check_target_module_exists(adapter.lora, name))
    if absent := sorted(name for name in wanted if name not in adapter.matrices):
        what = f"{absent[0]}, one of {len(absent)} that its config targets"
        raise AdapterFaultError(f"{ADAPTER_WEIGHTS_FILE} lacks {what}")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AdapterMissingError(f"{path} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterFaultError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise AdapterFaultError(f"{path.name} is no object")
    return config


def _plain_lora(config: dict[str, Any]) -> LoraConfig:
    """The config as PEFT understands it, where it asks for nothing that is not acted upon here."""
    if config.get("peft_type") != "LORA":
        raise AdapterFaultError(f"peft_type is {config.get('peft_type')!r}, only LORA is served")
    if config.get("task_type") not in (None, "CAUSAL_LM"):
        raise AdapterFaultError(f"task_type is {config['task_type']!r}, only CAUSAL_LM is served")
    if config.get("init_lora_weights", True) not in _PLAIN_STARTS:
        raise AdapterFaultError(f"init_lora_weights {config['init_lora_weights']!r} presumes another base's weights")
    _require_forms(config)
    if used := _unserved(config):
        raise AdapterFaultError(f"{ADAPTER_CONFIG_FILE} uses {', '.join(used)}, which is not served unmerged")
    try:
        parsed = LoraConfig(**{name: value for name, value in config.items() if name in _ACTED_UPON})
    except (TypeError, ValueError) as error:
        raise AdapterFaultError(f"{ADAPTER_CONFIG_FILE} is not understood: {error}") from error
    if not isinstance(parsed.r, int) or parsed.r < 1:
        raise AdapterFaultError(f"r is {parsed.r!r}, a rank is a whole number above 0")
    return parsed


def _require_forms(config: dict[str, Any]) -> None:
    """PEFT takes any value for a field, and fails on some of them later, each in its own way."""
    for name, fits in _FORMS.items():
        value = config.get(name)
        if value is not None and not fits(value):
            raise AdapterFaultError(f"{name} is {value!r:.40}, which is none of the values that PEFT writes there")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max  # neither is what is no number


def _are_names(value: object) -> bool:
    """A list of names, or a pattern; some names are taken as patterns, too."""
    return all(map(_is_pattern, value if isinstance(value, list) else [value]))


def _is_pattern(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _are_layers(value: object) -> bool:
    found = value if isinstance(value, list) else [value]
    return all(isinstance(layer, int) for layer in found)


_FORMS: dict[str, Callable[[object], bool]] = {
    "lora_alpha": _is_number,
    "use_rslora": lambda value: isinstance(value, bool),
    "target_modules": _are_names,
    "exclude_modules": _are_names,
    "layers_pattern": _are_names,
    "layers_to_transform": _are_layers,
}
"""Of fields that are acted upon, besides null for PEFT's own."""


def _unserved(config: dict[str, Any]) -> list[str]:
    """Fields that are set to something else than PEFT's default and that the engine knows nothing of."""
    plain = LoraConfig().to_dict()  # type: ignore[no-untyped-call]  # peft leaves it untyped
    others = config.keys() - _ACTED_UPON - _HARMLESS
    return sorted(name for name in others if config[name] and config[name] != plain.get(name))


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise AdapterMissingError(f"{path} is missing") from error
    except (OSError, SafetensorError) as error:
        if _is_pickle(path):
            raise AdapterFaultError(f"{path.name} is a pickle, which runs code when it is loaded") from error
        raise AdapterFaultError(f"{path.name} cannot be read: {error}") from error


def _is_pickle(path: Path) -> bool:
    """Whether what is no safetensors file is what torch.save writes: a zip archive, or a bare pickle before that."""
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(_PICKLES)
    except OSError:
        return False


def _pair_up(tensors: dict[str, torch.Tensor], rank: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        match = _KEY.fullmatch(name)
        if match is None:
            raise AdapterFaultError(f"{ADAPTER_WEIGHTS_FILE} has {name}, which is no LoRA matrix of a linear layer")
        found.setdefault(match["module"], {})[match["side"]] = tensor
    if not found:
        raise AdapterFaultError(f"{ADAPTER_WEIGHTS_FILE} has no tensor")
    return {module: _pair(module, sides, rank) for module, sides in found.items()}


def _pair(module: str, sides: dict[str, torch.Tensor], rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    shapes = {side: tuple(matrix.shape) for side, matrix in sides.items()}
    match shapes:
        case {"A": (rows, inputs), "B": (outputs, columns)} if rows == columns == rank and inputs and outputs:
            return sides["A"], sides["B"]
    wanted = f"A of ({rank}, inputs) and B of (outputs, {rank})"
    raise AdapterFaultError(f"{module} has matrices of {shapes}, rank {rank} needs {wanted}")


def _require_finite(matrices: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """One value that is no number would spoil every row of a batch."""
    others = [(module, side.dtype) for module, pair in matrices.items() for side in pair if side.dtype not in _TYPES]
    if others:
        module, dtype = others[0]
        raise AdapterFaultError(f"{module} has matrices of {dtype}, and weights are floats of 16, 32 or 64 bits")
    bad = [module for module, pair in matrices.items() if not all(bool(torch.isfinite(side).all()) for side in pair)]
    if bad:
        raise NotFiniteError(f"{bad[0]}, one of {len(bad)} such modules, holds values that are no numbers")
