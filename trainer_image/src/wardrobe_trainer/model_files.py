"""Which files are a base model, and whether they are whole. Reads headers only, and needs no torch.

A model is its configuration (`*.json`), tokenizer (`*.model`, merges.txt, vocab.txt), chat template (`*.jinja`) and
the safetensors files that its index names, all directly in its folder. Pages for people, hidden files, folders and
weights in other formats are no part of it: they may change without making another model of it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from wardrobe_contracts.base import Digest
from wardrobe_contracts.digests import fingerprint
from wardrobe_contracts.exits import Reason

from .problems import TaskError, bad_base, listed

CONFIG_FILE = "config.json"
SINGLE_WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
_SUFFIXES = {".json", ".model", ".jinja"}
_TOKENIZER_TEXTS = {"merges.txt", "vocab.txt"}
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".ckpt"}
_HEADER_LIMIT = 100_000_000
"""Bytes; the format's own limit for its JSON header (safetensors, `tensor.rs`)."""


class BaseFaultError(Exception):
    """Something is wrong with a model's files. The caller says which field of which resource named them."""

    def __init__(self, reason: Reason, rule: str, next_step: str) -> None:
        super().__init__(rule)
        self.reason = reason
        self.rule = rule
        self.next_step = next_step


@dataclass(frozen=True)
class Tensor:
    """One tensor of a safetensors header."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of values."""
        return prod(self.shape)


def model_files(folder: Path) -> list[str]:
    """Names of the files that make the model, sorted. Raises BaseFaultError where weights are missing or unsafe."""
    others = [path.name for path in folder.iterdir() if path.is_file() and _describes(path)]
    return sorted([*others, *weight_files(folder)])


def _describes(path: Path) -> bool:
    return not path.name.startswith(".") and (path.suffix in _SUFFIXES or path.name in _TOKENIZER_TEXTS)


def weight_files(folder: Path) -> list[str]:
    """Names of the safetensors files that transformers would load, sorted."""
    if (folder / WEIGHTS_INDEX).is_file():
        return _indexed(folder)
    if (folder / SINGLE_WEIGHTS).is_file():
        return [SINGLE_WEIGHTS]
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise BaseFaultError(
            Reason.UNSAFE_WEIGHTS,
            f"its weights are pickles ({listed(pickles)}), which run code when they are loaded",
            "Convert them once on a machine you trust: AutoModelForCausalLM.from_pretrained(folder)"
            ".save_pretrained(folder), which writes safetensors, then remove the pickles",
        )
    raise BaseFaultError(
        Reason.BASE_MALFORMED,
        f"it has neither {SINGLE_WEIGHTS} nor {WEIGHTS_INDEX}",
        "Copy the model's safetensors files into the folder",
    )


def _indexed(folder: Path) -> list[str]:
    index = read_json(folder / WEIGHTS_INDEX)
    names = index.get("weight_map")
    if not isinstance(names, dict) or not names or any("/" in str(name) for name in names.values()):
        raise BaseFaultError(
            Reason.BASE_MALFORMED,
            f"{WEIGHTS_INDEX} has no weight_map from tensors to files of the same folder",
            "Copy the file again from where the model came from",
        )
    shards = sorted({str(name) for name in names.values()})
    if missing := [name for name in shards if not (folder / name).is_file()]:
        raise BaseFaultError(
            Reason.BASE_MALFORMED,
            f"{WEIGHTS_INDEX} names {listed(missing)}, which {'is' if len(missing) == 1 else 'are'} missing "
            f"({len(shards) - len(missing)} of {len(shards)} shards are there)",
            "Copy the missing shards; a download may have been cut short",
        )
    return shards


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises BaseFaultError where the file is something else."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise _not_an_object(path, str(error)) from error
    if not isinstance(value, dict):
        raise _not_an_object(path, f"it is a {type(value).__name__}")
    return value


def _not_an_object(path: Path, found: str) -> BaseFaultError:
    return BaseFaultError(
        Reason.BASE_MALFORMED, f"{path.name} is not a JSON object: {found}", f"Copy {path.name} again"
    )


def tensors(folder: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Every tensor of the named safetensors files, by its name. Raises BaseFaultError where a file is not whole."""
    return {tensor: facts for name in names for tensor, facts in safetensors_header(folder / name).items()}


def safetensors_header(path: Path) -> dict[str, Tensor]:
    """Tensors of one safetensors file, its length checked against them. Raises BaseFaultError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 0 < length <= min(_HEADER_LIMIT, size - 8):
            raise _not_whole(path, f"it has {size} bytes and no room for its header")
        header = file.read(length)
    try:
        entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        found = {name: Tensor(entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _not_whole(path, "its header is not that of a safetensors file") from error
    if 8 + length + end != size:
        raise _not_whole(path, f"it has {size} bytes, its header promises {8 + length + end}")
    return found


def _not_whole(path: Path, found: str) -> BaseFaultError:
    return BaseFaultError(
        Reason.BASE_MALFORMED, f"{path.name} is truncated or damaged: {found}", f"Copy {path.name} again"
    )


def require_unchanged(folder: Path, expected: Digest) -> None:
    """Compare the model with what was inspected, in milliseconds. Raises TaskError (BaseChanged)."""
    try:
        found = fingerprint(folder, model_files(folder))
    except (BaseFaultError, OSError) as error:
        raise _changed(folder, f"they cannot be read any more: {error}") from error
    if found != expected:
        raise _changed(folder, f"their fingerprint is {found[:19]}…, not {expected[:19]}…")


def _changed(folder: Path, found: str) -> TaskError:
    return bad_base(
        Reason.BASE_CHANGED,
        field="spec.baseModel.name",
        value=str(folder),
        rule=f"the base's files are not those that its BaseModel was inspected with: {found}",
        next_step="Put the inspected files back, or make a new BaseModel for the new ones",
    )
