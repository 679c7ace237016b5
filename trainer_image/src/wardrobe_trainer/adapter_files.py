"""The two files of an adapter: whether they are whole and sane, and their form without accidents of a machine."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE

from .problems import TaskError, bad_adapter, listed

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_UNSUPPORTED = ("use_dora", "modules_to_save", "trainable_token_indices", "rank_pattern", "alpha_pattern", "lora_bias")
"""Settings of PEFT that engines cannot serve unmerged, or that give modules ranks of their own."""
_INITIALISED_ELSEWHERE = (True, "gaussian", "orthogonal")
"""Ways to begin that leave the base's weights as they are; pissa, olora, corda and loftq change them."""
_SETS = ("target_modules", "exclude_modules")
"""Fields that PEFT holds as sets and writes in the order of their hashes."""
RETRAIN = "Train again; if it happens twice, report it with the training pod's log"


@dataclass(frozen=True)
class AdapterFacts:
    """What a sane adapter is."""

    rank: int
    target_modules: list[str]
    size_bytes: int
    """Of both files."""
    sides: dict[str, tuple[int, int]]
    """Adapted module to its (input, output) features."""


def validate(folder: Path, rank: int) -> AdapterFacts:
    """Re-open an adapter and check every tensor. Raises TaskError (AdapterInvalid)."""
    config = read_config(folder)
    require_plain_lora(config, rank)
    tensors = read_tensors(folder / ADAPTER_WEIGHTS_FILE)
    sides = pair_up(tensors, rank)
    require_finite(tensors)
    if not any(bool(tensor.any()) for name, tensor in tensors.items() if ".lora_B." in name):
        raise refuse("every B matrix is zero: the adapter changes nothing", RETRAIN)
    size = sum((folder / name).stat().st_size for name in (ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE))
    return AdapterFacts(rank, sorted(config["target_modules"]), size, sides)


def refuse(rule: str, next_step: str) -> TaskError:
    """The adapter must not be published."""
    return bad_adapter(value="the trained adapter", rule=rule, next_step=next_step)


def read_config(folder: Path) -> dict[str, Any]:
    """adapter_config.json as written by PEFT. Raises TaskError."""
    try:
        config = json.loads((folder / ADAPTER_CONFIG_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise refuse(f"{ADAPTER_CONFIG_FILE} cannot be read: {error}", RETRAIN) from error
    if not isinstance(config, dict) or not isinstance(config.get("target_modules"), list):
        raise refuse(f"{ADAPTER_CONFIG_FILE} has no list of target_modules", RETRAIN)
    return config


def require_plain_lora(config: dict[str, Any], rank: int) -> None:
    """Only plain LoRA of one rank can be served beside others on an unchanged base. Raises TaskError."""
    if config.get("peft_type") != "LORA" or config.get("r") != rank:
        found = f"peft_type {config.get('peft_type')} and r {config.get('r')}"
        raise refuse(f"{ADAPTER_CONFIG_FILE} says {found}, expected LORA and {rank}", RETRAIN)
    if used := [name for name in _UNSUPPORTED if config.get(name)]:
        raise refuse(f"{ADAPTER_CONFIG_FILE} uses {listed(used)}, which cannot be served unmerged", RETRAIN)
    if config.get("init_lora_weights", True) not in _INITIALISED_ELSEWHERE:
        raise refuse(f"init_lora_weights {config['init_lora_weights']!r} presumes another base's weights", RETRAIN)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors, on CPU. Raises TaskError where the file is missing, truncated or no safetensors."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise refuse(f"{path.name} cannot be read: {error}", RETRAIN) from error


def pair_up(tensors: dict[str, torch.Tensor], rank: int) -> dict[str, tuple[int, int]]:
    """Input and output features of every adapted module. Raises TaskError where A and B are not all pairs of `rank`."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        match = _KEY.fullmatch(name)
        if match is None:
            raise refuse(f"{ADAPTER_WEIGHTS_FILE} has {name}, which is no LoRA matrix", RETRAIN)
        found.setdefault(match["module"], {})[match["side"]] = tensor
    if not found:
        raise refuse(f"{ADAPTER_WEIGHTS_FILE} has no tensor", RETRAIN)
    return {module: _features(module, pair, rank) for module, pair in found.items()}


def _features(module: str, pair: dict[str, torch.Tensor], rank: int) -> tuple[int, int]:
    shapes = {side: tuple(tensor.shape) for side, tensor in pair.items()}
    match shapes:
        case {"A": (rows, inputs), "B": (outputs, columns)} if rows == columns == rank and inputs and outputs:
            return inputs, outputs
    raise refuse(f"{module} has matrices {shapes}, expected A of ({rank}, inputs) and B of (outputs, {rank})", RETRAIN)


def require_finite(tensors: dict[str, torch.Tensor]) -> None:
    """Every value must be a number. Raises TaskError."""
    if bad := sorted(name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())):
        raise refuse(
            f"{len(bad)} of {len(tensors)} matrices hold values that are no numbers: {listed(bad)}",
            "Lower spec.training.learningRate and train again",
        )


def require_fits(model: torch.nn.Module, sides: dict[str, tuple[int, int]]) -> None:
    """Every adapted module must exist in the base with the same features. Raises TaskError."""
    modules = dict(model.named_modules())
    for name, features in sides.items():
        module = modules.get(name)
        found = (getattr(module, "in_features", None), getattr(module, "out_features", None))
        if found != features:
            raise refuse(
                f"it adapts {name} with {features} input and output features, in the base it has {found}",
                "Use the base that it was trained on",
            )


def normalised_config(config: dict[str, Any], base_name: str) -> bytes:
    """adapter_config.json in the form that is published: the same adapter gives the same bytes on every machine.

    PEFT writes the path the base was loaded from, sets in the order of their hashes, and how it was loaded. The base
    goes by the name of its BaseModel.
    """
    settled = {
        **config,
        "base_model_name_or_path": base_name,
        "revision": None,
        "auto_mapping": None,
        "inference_mode": True,
    }
    sets = {name: sorted(settled[name]) for name in _SETS if isinstance(settled.get(name), list)}
    return (json.dumps({**settled, **sets}, indent=2, sort_keys=True) + "\n").encode()
