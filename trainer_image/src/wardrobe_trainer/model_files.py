"""Whether a base model's files are whole. Reads headers only, and needs no torch.

Which files those are says `wardrobe_contracts.base_files`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from wardrobe_contracts import base_files
from wardrobe_contracts.base import Fingerprint
from wardrobe_contracts.base_files import SINGLE_WEIGHTS, WEIGHTS_INDEX
from wardrobe_contracts.digests import HEADER_LENGTH_BYTES, HEADER_LIMIT, fingerprint_like
from wardrobe_contracts.exits import Reason

from .problems import TaskError, bad_base, listed

CONFIG_FILE = "config.json"
DESCRIPTION_LIMIT = 128 * 2**20
"""Bytes of a tokenizer's or template's file, which libraries read whole; the largest tokenizer known has a quarter."""
FILES_LIMIT = 1000
"""Of a model; the largest have some 200. Every start of a task or an engine reads from each."""
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".ckpt"}


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
    """Names of the files that make the model, sorted. Raises BaseFaultError where they are no whole, safe model."""
    described = base_files.describing_files(folder)
    for name in described:
        if (size := (folder / name).stat().st_size) > DESCRIPTION_LIMIT:
            raise BaseFaultError(
                Reason.BASE_MALFORMED,
                f"{name} has {size} bytes, and only weights may have more than {DESCRIPTION_LIMIT}",
                f"Copy {name} again from where the model came from, or take it away",
            )
    names = sorted([*described, *weight_files(folder)])
    if len(names) > FILES_LIMIT:
        raise BaseFaultError(
            Reason.BASE_MALFORMED,
            f"it has {len(names)} files, and a model has at most {FILES_LIMIT}",
            "Leave only the model's own files in the folder",
        )
    return names


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
    try:
        shards = base_files.indexed(folder / WEIGHTS_INDEX)
    except ValueError as error:
        raise BaseFaultError(
            Reason.BASE_MALFORMED,
            f"{WEIGHTS_INDEX} is no index of weights: {error}",
            "Copy the file again from where the model came from",
        ) from error
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
        return base_files.read_json(path)
    except ValueError as error:
        raise BaseFaultError(
            Reason.BASE_MALFORMED, f"{path.name} is not a JSON object: {error}", f"Copy {path.name} again"
        ) from error


def tensors(folder: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Every tensor of the named safetensors files, by its name. Raises BaseFaultError where a file is not whole."""
    return {tensor: facts for name in names for tensor, facts in safetensors_header(folder / name).items()}


def safetensors_header(path: Path) -> dict[str, Tensor]:
    """Tensors of one safetensors file, its length checked against them. Raises BaseFaultError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
        if not 0 < length <= min(HEADER_LIMIT, size - HEADER_LENGTH_BYTES):
            raise _not_whole(path, f"it has {size} bytes and no room for its header")
        header = file.read(length)
    try:
        entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        end = max((_counts(entry["data_offsets"])[1] for entry in entries.values()), default=0)
        found = {name: _tensor(entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise _not_whole(path, "its header is not that of a safetensors file") from error
    promised = HEADER_LENGTH_BYTES + length + end
    if promised != size:
        raise _not_whole(path, f"it has {size} bytes, its header promises {promised}")
    return found


def _tensor(entry: dict[str, Any]) -> Tensor:
    found = Tensor(str(entry["dtype"]), _counts(entry["shape"]))
    begin, end = entry["data_offsets"]
    if found.elements > 8 * (end - begin):  # a value has a bit at least
        raise ValueError("a tensor has more values than bits")
    return found


def _counts(values: list[Any]) -> tuple[int, ...]:
    if any(type(value) is not int or value < 0 for value in values):
        raise ValueError("a tensor's sizes and places are counts")
    return tuple(values)


def _not_whole(path: Path, found: str) -> BaseFaultError:
    return BaseFaultError(
        Reason.BASE_MALFORMED, f"{path.name} is truncated or damaged: {found}", f"Copy {path.name} again"
    )


def require_unchanged(folder: Path, expected: Fingerprint) -> None:
    """Compare the model with what was inspected, in under a second. Raises TaskError (BaseChanged)."""
    try:
        found = fingerprint_like(expected, folder, model_files(folder))
    except (BaseFaultError, OSError) as error:
        raise _changed(folder, f"they cannot be read any more: {error}") from error
    if found != expected:
        raise _changed(folder, f"their fingerprint is {found}, not {expected}")


def _changed(folder: Path, found: str) -> TaskError:
    return bad_base(
        Reason.BASE_CHANGED,
        field="spec.baseModel.name",
        value=str(folder),
        rule=f"the base's files are not those that its BaseModel was inspected with: {found}",
        next_step="Put the inspected files back, or make a new BaseModel for the new ones",
    )
