"""Adapters as TGI reads them: almost nothing is checked, and much is dropped without a word."""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from .facts import LAYER_TYPES, MIN_PADDED_RANK, RANK_BLOCK, WIDEST_IN_DECODE

_ITEM = re.compile(r"([^=@]+)(?:=([^@]+))?(?:@(.+))?")
"""utils/adapter.py:63."""
_SKIPPED = ("arguments", "args", "training")
"""Files whose names have one of these are no weights (utils/hub.py)."""


class CannotStartError(Exception):
    """What the shard writes before it ends, and the launcher after it."""


@dataclass
class Adapter:
    """One of LORA_ADAPTERS, as its layers apply it."""

    name: str
    matrices: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    """Module to A and B, B times the scale that TGI computes."""
    ranks: dict[str, int] = field(default_factory=dict)
    """Padded rank by type of layer; a type that some layer lacks is not there (adapters/lora.py:237)."""
    fits: bool = True
    """False where the matrices are of another width: it starts, and a request ends the shard (seen)."""


def parse(lora_adapters: str) -> list[tuple[str, Path]]:
    """Names and folders of LORA_ADAPTERS; of the same name twice the last. Raises CannotStartError."""
    found: dict[str, Path] = {}
    for item in map(str.strip, lora_adapters.split(",")):
        match = _ITEM.fullmatch(item)
        if not item:
            raise CannotStartError("FileNotFoundError: No local weights found in  with extension .bin\nDownloadError")
        if match is None or item.count("=") > 1 or item.count("@") > 1:
            raise CannotStartError(f"ValueError: Invalid LoRA adapter format: {item}")
        if match[2] is None:
            raise CannotStartError(f"HFValidationError: Repo id must be in the form 'repo_name': '{match[1]}'")
        found[match[1]] = Path(match[2])
    return list(found.items())


def read(name: str, folder: Path, features: dict[str, tuple[int, int]]) -> Adapter:
    """An adapter for a base whose linear modules have these input and output features. Raises CannotStartError."""
    config_file = folder / "adapter_config.json"
    if not config_file.is_file():
        raise CannotStartError(f"ValueError: Can't find 'adapter_config.json' at '{folder}'")
    config = json.loads(config_file.read_text())
    tensors = _tensors(name, folder)
    adapter = Adapter(name)
    rank = config.get("r", 8)
    for kind in LAYER_TYPES:
        modules = [module for module in features if module.rpartition(".")[2] == kind]
        pairs = {module: _pair(tensors, module) for module in modules}
        if not modules or any(pair is None for pair in pairs.values()):
            continue
        root = math.sqrt(rank) if config.get("use_rslora") else rank
        for module, pair in pairs.items():
            assert pair is not None
            adapter.matrices[module] = (pair[0].float(), pair[1].float() * (config.get("lora_alpha", 8) / root))
            adapter.fits &= (pair[0].shape[1], pair[1].shape[0]) == features[module]
        # the padded rank is written back, and the next type is scaled by it (adapters/lora.py:245, 273)
        rank = padded(next(iter(pairs.values()))[0].shape[0])  # type: ignore[index]  # not None, see above
        adapter.ranks[kind] = rank
    return adapter


def padded(rank: int) -> int:
    """The rank that the kernels compute with, on one GPU."""
    return MIN_PADDED_RANK if rank <= MIN_PADDED_RANK else -(-rank // RANK_BLOCK) * RANK_BLOCK


def _tensors(name: str, folder: Path) -> dict[str, torch.Tensor]:
    files = [path for path in folder.glob("*.safetensors") if not any(word in path.name for word in _SKIPPED)]
    if not files:
        raise CannotStartError(f"FileNotFoundError: No adapter weights found for adapter '{name}' and revision 'None'.")
    tensors: dict[str, torch.Tensor] = {}
    for path in files:
        try:
            with safe_open(path, "pt"):
                tensors |= load_file(path)
        except Exception as error:
            raise CannotStartError(f"SafetensorError: {error}") from error
    return tensors


def _pair(tensors: dict[str, torch.Tensor], module: str) -> tuple[torch.Tensor, torch.Tensor] | None:
    sides = [tensors.get(f"base_model.model.{module}.lora_{side}.weight") for side in "AB"]
    return None if sides[0] is None or sides[1] is None else (sides[0], sides[1])


def misread(batch: list["Adapter | None"]) -> tuple[int, int] | None:
    """Where decoding a batch reads past the end of its table of pointers: the index, and the table's length.

    `batch` has each row's adapter, None for the base. TGI cuts the table to the rows of one rank, and keeps indexes
    into the whole (adapters/lora.py:460-473).
    """
    segments = [adapter for at, adapter in enumerate(batch) if at == 0 or adapter is not batch[at - 1]]
    for kind in LAYER_TYPES:
        ranks = [adapter.ranks.get(kind) if adapter else None for adapter in segments]
        if max((rank for rank in ranks if rank), default=0) > WIDEST_IN_DECODE:
            continue
        for rank in {rank for rank in ranks if rank}:
            places = [place for place, one in enumerate(ranks) if one == rank]
            if places[-1] >= len(places):
                return places[-1], len(places)
    return None
