"""Checkpoints of a run in its store: what an attempt writes down, and where the next one begins.

`<run>/<attempt>/checkpoints/<step>` holds whole float32 tensors by name and a manifest with their digest: nothing in it
depends on how many processes wrote it. It is written beside, synced and renamed, so that what has its name is whole;
and each attempt writes in its own folder only, so that an older one which still lives spoils nothing.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from wardrobe_contracts.base import Digest, Record
from wardrobe_contracts.digests import sha256, sha256_file
from wardrobe_contracts.training import AdapterMethod, FullMethod, Lora, Schedule, TrainConfig, TrainingMethod

from .checkpoints_folder import FOLDER, all_of
from .console import say
from .files import sync_folder, sync_tree, write_durably
from .moments import Stored, Tensors

_TENSORS = "state.safetensors"
_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 100_000
"""Bytes."""


class Manifest(Record):
    """What a checkpoint is of."""

    step: int
    """Optimizer steps done."""
    fingerprint: Digest
    """Of base, data and settings: what makes it another run's."""
    tensors: Digest
    tokens: int
    first_loss: float


@dataclass(frozen=True)
class Checkpoint:
    """One that is whole, and of this run."""

    folder: str
    manifest: Manifest
    stored: Stored


def fingerprint(config: TrainConfig) -> Digest:
    """Of all that decides what is trained. Processes, micro-batches and the rest may differ when training goes on.

    Field by field: one that a later release adds, with a default that changes nothing, makes no other run.
    """
    method, schedule = config.method, config.schedule
    lora = method.lora if isinstance(method, AdapterMethod) else None
    decisive = {
        "base": config.base.fingerprint,
        "rows": config.train_digest,
        "method": method.name,
        "lora": lora and [lora.rank, lora.alpha, lora.dropout, sorted(lora.target_modules)],
        "quantization": _quantization(method),
        "schedule": [schedule.epochs, schedule.learning_rate, schedule.batch_size, schedule.sequence_length],
        "seed": schedule.seed,
        **_unusual(lora, "scaling", "initialization"),
        **_unusual(schedule, "optimizer"),
    }
    return sha256(json.dumps(decisive, sort_keys=True).encode())


def _quantization(method: TrainingMethod) -> list[str | bool] | None:
    if not isinstance(method, AdapterMethod) or method.quantization is None:
        return None
    return [method.quantization.type, method.quantization.double_quantization]


def _unusual(settings: Lora | Schedule | None, *names: str) -> dict[str, str]:
    """What differs from the only way of earlier releases, which knew no such fields."""
    fields = {} if settings is None else type(settings).model_fields
    return {name: found for name in names if fields and (found := getattr(settings, name)) != fields[name].default}


def write(config: TrainConfig, tensors: Tensors, *, step: int, tokens: int, first_loss: float) -> None:
    """A further checkpoint; of those up to it, `keep` stay. Those of later steps were passed over, and go.

    Those of later attempts are left alone: whoever finds some is an old pod that still lives. Raises OSError, and then
    leaves all as they are.
    """
    assert config.checkpoints is not None  # noqa: S101  ordered
    folder = Path(config.output_folder) / FOLDER
    unfinished = folder / f".{step:08d}.{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        save_file(tensors, unfinished / _TENSORS)
        manifest = Manifest(
            step=step,
            fingerprint=fingerprint(config),
            tensors=sha256_file(unfinished / _TENSORS),
            tokens=tokens,
            first_loss=first_loss,
        )
        write_durably(unfinished / _MANIFEST, manifest.model_dump_json(by_alias=True, indent=1).encode())
        sync_tree(unfinished)
        unfinished.rename(folder / f"{step:08d}")
        sync_folder(folder)
    except SafetensorError as error:  # how it tells of a full disk
        raise OSError(str(error)) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    own = int(Path(config.output_folder).name)
    found = [path for path in all_of(Path(config.output_folder).parent) if int(path.parent.parent.name) <= own]
    kept = [path for path in found if int(path.name) <= step][: config.checkpoints.keep]
    for old in set(found) - set(kept):
        shutil.rmtree(old, ignore_errors=True)


def newest(config: TrainConfig) -> Checkpoint | None:
    """Where training goes on: the newest of any attempt that is whole and of this run.

    Raises OSError where the store does not answer: that is no reason to begin anew.
    """
    for folder in all_of(Path(config.output_folder).parent):
        try:
            return read(config, str(folder))
        except (FileNotFoundError, ValueError, SafetensorError) as error:
            say(f"checkpoint {folder.parent.parent.name}/{folder.name} is not used: {_why(error)}")
    return None


def read(config: TrainConfig, folder: str, *, known_whole: bool = False) -> Checkpoint:
    """Raises OSError, ValueError or SafetensorError where it is not whole, or not of this run."""
    place = Path(folder)
    with (place / _MANIFEST).open("rb") as file:
        manifest = Manifest.model_validate_json(file.read(_MANIFEST_LIMIT))
    if manifest.fingerprint != fingerprint(config):
        raise ValueError("it is of another base, other data or other settings")
    if not known_whole and sha256_file(place / _TENSORS) != manifest.tensors:
        raise ValueError(f"{_TENSORS} is not what was written")
    return Checkpoint(folder, manifest, _reader(config, place / _TENSORS))


def _reader(config: TrainConfig, path: Path) -> Stored:
    """All of an adapter's at once, so that a volume's trouble is an error here; of a model what is asked for."""
    if isinstance(config.method, FullMethod):
        stored: Stored = safe_open(path, framework="pt").get_tensor
        return stored
    return load_file(path).__getitem__


def _why(error: Exception) -> str:
    return f"{_MANIFEST} cannot be read" if isinstance(error, ValidationError) else str(error)
