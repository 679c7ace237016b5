"""The candidate's two files: as the order asked for them, and in a form without accidents of a machine."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from wardrobe_contracts.manifest import ADAPTER_FILES
from wardrobe_models import adapter_files
from wardrobe_models.adapter_files import Adapter, AdapterFaultError, NotFiniteError, linear_features

from .problems import TaskError, bad_adapter

_SETS = ("target_modules", "exclude_modules")
"""Fields that PEFT holds as sets and writes in the order of their hashes."""
RETRAIN = "Train again; if it happens twice, report it with the training pod's log"


@dataclass(frozen=True)
class AdapterFacts:
    """What a sane adapter is."""

    adapter: Adapter
    target_modules: list[str]
    size_bytes: int
    """Of both files."""

    @property
    def rank(self) -> int:
        """One for all modules."""
        return self.adapter.lora.r


def validate(folder: Path, rank: int) -> AdapterFacts:
    """Re-open an adapter and check every tensor. Raises TaskError (AdapterInvalid)."""
    try:
        adapter = adapter_files.read(folder)
    except NotFiniteError as error:
        raise invalid_adapter(str(error), "Lower spec.training.learningRate and train again") from error
    except AdapterFaultError as error:
        raise invalid_adapter(str(error), RETRAIN) from error
    if adapter.lora.r != rank:
        raise invalid_adapter(f"its r is {adapter.lora.r}, and {rank} was ordered", RETRAIN)
    if not isinstance(adapter.lora.target_modules, set):
        raise invalid_adapter(f"its target_modules are no list: {adapter.lora.target_modules}", RETRAIN)
    if not any(bool(b.any()) for _, b in adapter.matrices.values()):
        raise invalid_adapter("every B matrix is zero: the adapter changes nothing", RETRAIN)
    size = sum((folder / name).stat().st_size for name in ADAPTER_FILES)
    return AdapterFacts(adapter, sorted(adapter.lora.target_modules), size)


def invalid_adapter(rule: str, next_step: str) -> TaskError:
    """The adapter must not be published."""
    return bad_adapter(value="the trained adapter", rule=rule, next_step=next_step)


def require_fits(base: nn.Module, adapter: Adapter) -> None:
    """The adapter must be whole and of this base. Raises TaskError."""
    try:
        adapter_files.require_fits(adapter, linear_features(base))
    except AdapterFaultError as error:
        raise invalid_adapter(str(error), "Use the base that it was trained on") from error


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
