"""Writes the copies that a TGI is started with: one folder for a set, never changed once it has its name."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from wardrobe_contracts.base import Digest, Record
from wardrobe_contracts.engines.tgi import ZERO_ADAPTER
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE
from wardrobe_contracts.routes import BaseShape, EngineAdapterName

from .. import tensors
from ..tensors import Bits, Weights
from .forms import AdapterForm, SetForm, UnfitError, dimensions, matrix_name, read_form, set_digest

SET_FILE = "set.json"
MOST_ENVIRONMENT_BYTES = 120_000
"""Of the variable that names a set. Linux starts no process with one of 131,072 bytes."""
_ZEROS = "BF16"
"""The type of matrices that no file has: the shortest."""


class WrittenSet(Record):
    """What a set's folder holds: `set.json`, for an agent that comes after."""

    members: dict[EngineAdapterName, Digest]
    form: SetForm

    @property
    def digest(self) -> Digest:
        """Its identity."""
        return set_digest(self.members, self.form)


def write_set(target: Path, made: WrittenSet, folders: Mapping[EngineAdapterName, Path], base: BaseShape) -> None:
    """Padded copies in folders of `target`, and the zero adapter; nothing where that is there already.

    Raises UnfitError where an adapter does not fit base or form, or the set has no room in an environment, or OSError.
    It may be called in a thread.
    """
    environment(target, made)
    if target.exists():
        return
    for name in made.members:
        _require_plain(name)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, folder in copies_in(partial, made).items():
            if name == ZERO_ADAPTER:
                _write_adapter(folder, None, 1.0, made.form, base)
            else:
                _write_copy(folder, folders[name], made.form, base)
        (partial / SET_FILE).write_text(made.model_dump_json(by_alias=True))
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_set(folder: Path) -> WrittenSet:
    """What an earlier agent wrote. Raises OSError, or ValueError where that is not understood."""
    return WrittenSet.model_validate_json((folder / SET_FILE).read_bytes())


def environment(target: Path, made: WrittenSet) -> dict[str, str]:
    """What names the set to TGI. Raises UnfitError where it would be too long to start a process with."""
    value = ",".join(f"{name}={folder}" for name, folder in copies_in(target, made).items())
    if (size := len(value.encode())) > MOST_ENVIRONMENT_BYTES:
        most = f"{MOST_ENVIRONMENT_BYTES} are the most, since Linux limits one variable"
        fewer = "Serve fewer adapters from one deployment, or give them shorter names"
        raise UnfitError(f"LORA_ADAPTERS of {len(made.members)} adapters has {size} bytes: {most}. {fewer}")
    return {"LORA_ADAPTERS": value}


def copies_in(target: Path, made: WrittenSet) -> dict[EngineAdapterName, Path]:
    """Where copies lie, and the zero adapter. Numbers, since all must be named in one variable."""
    numbered = {name: target / str(number) for number, name in enumerate(sorted(made.members))}
    return {**numbered, ZERO_ADAPTER: target / ZERO_ADAPTER}


def _require_plain(name: EngineAdapterName) -> None:
    """TGI splits its list at these (utils/adapter.py:56-63)."""
    if bad := next((sign for sign in name if sign in ",=@/" or sign.isspace()), None):
        raise UnfitError(f"the adapter's name is {name!r}: TGI takes no {bad!r} in it. Publish it under another name")


def _write_copy(target: Path, source: Path, form: SetForm, base: BaseShape) -> None:
    adapter = read_form(source, base)
    _require_inside(adapter, form)
    with tensors.opened(source / ADAPTER_WEIGHTS_FILE) as weights:
        _write_adapter(target, weights, adapter.scale, form, base)


def _require_inside(adapter: AdapterForm, form: SetForm) -> None:
    if adapter.rank > form.rank or not adapter.modules <= set(form.modules):
        raise UnfitError(f"an adapter of r {adapter.rank} on {sorted(adapter.modules)} is wider than the set's {form}")


def _write_adapter(target: Path, weights: Weights | None, scale: float, form: SetForm, base: BaseShape) -> None:
    """Alpha grows with the rank, so that what TGI multiplies by stays the same."""
    target.mkdir()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "",
        "r": form.rank,
        "lora_alpha": scale * form.rank,
        "use_rslora": False,
        "target_modules": [module.rpartition(".")[2] for module in form.modules],
    }
    (target / ADAPTER_CONFIG_FILE).write_text(json.dumps(config, indent=1))
    wanted = _matrices(form, base)
    given = weights.tensors if weights else {}
    types = [(name, given[name].dtype if name in given else _ZEROS, shape) for name, shape in wanted.items()]
    data = (_rows(weights, name) for name in wanted)
    tensors.write(target / ADAPTER_WEIGHTS_FILE, types, data)


def _rows(weights: Weights | None, name: str) -> Iterator[Bits]:
    """Nothing where the adapter leaves this matrix out."""
    return weights.pieces(name) if weights and name in weights.tensors else iter(())


def _matrices(form: SetForm, base: BaseShape) -> dict[str, tuple[int, int]]:
    """Names and shapes of all that an adapter of this form holds."""
    found: dict[str, tuple[int, int]] = {}
    for layer in range(base.layers):
        for module in form.modules:
            inputs, outputs = dimensions(module, base)
            found[matrix_name(layer, module, "A")] = (form.rank, inputs)
            found[matrix_name(layer, module, "B")] = (outputs, form.rank)
    return found
