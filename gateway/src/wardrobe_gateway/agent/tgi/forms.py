"""One form for all adapters of a TGI: copies filled up with zeros to one rank and to the same modules of every layer.

TGI scales other ranks than 8 and multiples of 16 wrongly (adapters/lora.py:245,273). While it decodes a batch with two
ranks, with other modules, or with the base beside adapters, it reads past the end of a table (adapters/lora.py:473).
Rows of zeros change nothing, so that copies of one form may be asked in any mixture; in the base's stead stands an
adapter of zeros. What TGI would load and serve wrongly is refused here. Pure but for `read_form`.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from wardrobe_contracts.base import Digest, Record
from wardrobe_contracts.digests import sha256
from wardrobe_contracts.engines.tgi import ADAPTED_MODULES, ADAPTER_BASES, WIDEST_RANK, filled_rank
from wardrobe_contracts.layer_sizes import layer_sizes
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE
from wardrobe_contracts.routes import BaseShape, EngineAdapterName

from .. import tensors
from ..tensors import Tensor, TensorsError

_KEY = re.compile(r"base_model\.model\.model\.layers\.(0|[1-9][0-9]{0,4})\.([a-z_.]+)\.lora_(A|B)\.weight")
MOST_SHARDS = 16
"""GPUs of one engine."""
MOST_ALPHA = 1e6
"""Beyond this nothing was ever trained, and products do not overflow below."""

_UNDERSTOOD = {
    *("auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "inference_mode", "init_lora_weights"),
    *("layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core", "peft_type"),
    *("peft_version", "qalora_group_size", "r", "revision", "runtime_config", "target_modules", "task_type"),
    "use_rslora",
}
"""Fields of a config that are read here, or that change nothing at inference. Any other may mean something else than
LoRA, and TGI would not look at it."""
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal")
"""Values of init_lora_weights that leave the base's weights as they are."""


class UnfitError(Exception):
    """An adapter that TGI would serve as something else, or a set that it cannot serve; the text says why."""


class SetForm(Record):
    """The form of all adapters in one engine."""

    rank: PositiveInt
    modules: tuple[str, ...]
    """Adapted in every layer, such as `self_attn.q_proj`; sorted."""


@dataclass(frozen=True)
class AdapterForm:
    """What an adapter is made of. It fits its base."""

    rank: int
    scale: float
    """What the product of its matrices is multiplied by: alpha / r, or alpha / sqrt(r)."""
    modules: frozenset[str]
    """Those that it adapts in at least one layer."""


def read_form(folder: Path, base: BaseShape, shards: int = MOST_SHARDS) -> AdapterForm:
    """The form of an adapter in its folder, all of whose files are read. Raises UnfitError, or OSError.

    Of a rank that `shards` GPUs cannot have, no weights are read.
    """
    config = _config(folder / ADAPTER_CONFIG_FILE)
    rank, scale = _rank_and_scale(config)
    if rank > WIDEST_RANK * shards:
        raise _too_wide(rank, shards)
    try:
        with tensors.opened(folder / ADAPTER_WEIGHTS_FILE) as weights:
            modules = _modules(weights.tensors, rank, base)
            _require_covered(weights.tensors, config, base)
            if bad := weights.first_not_finite():
                raise UnfitError(f"{ADAPTER_WEIGHTS_FILE}: {bad} holds values that are no numbers. Train it again")
    except TensorsError as error:
        raise UnfitError(f"{ADAPTER_WEIGHTS_FILE}: {error}") from error
    return AdapterForm(rank, scale, modules)


def set_form(forms: Iterable[AdapterForm], shards: int) -> SetForm:
    """The narrowest form that TGI computes rightly, and that all fit in. There is at least one.

    `shards` is the number of GPUs that one engine splits its weights over. Raises UnfitError where none is wide enough.
    """
    forms = list(forms)
    widest = max(form.rank for form in forms)
    rank = filled_rank(widest, shards)
    if rank > WIDEST_RANK * shards:
        raise _too_wide(widest, shards)
    modules = {module for form in forms for module in form.modules}
    return SetForm(rank=rank, modules=tuple(sorted(modules)))


def _too_wide(rank: int, shards: int) -> UnfitError:
    most = f"TGI's kernels take {WIDEST_RANK} for each of {shards} GPUs at most"
    return UnfitError(f"r is {rank}: {most}. Train it with a lower rank")


def set_digest(members: Mapping[EngineAdapterName, Digest], form: SetForm) -> Digest:
    """Identity of what an engine is started with: names, what is behind each, and their form."""
    return sha256(json.dumps([sorted(members.items()), form.rank, form.modules]).encode())


def dimensions(module: str, base: BaseShape) -> tuple[int, int]:
    """A module's input and output features, on every base of ADAPTER_BASES."""
    return layer_sizes(base)[module.rpartition(".")[2]]


def matrix_name(layer: int, module: str, side: str) -> str:
    """The name of A or B in an adapter's file."""
    return f"base_model.model.model.layers.{layer}.{module}.lora_{side}.weight"


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"{path.name} is no JSON: {error}. Publish the adapter again") from error
    if not isinstance(config, dict):
        raise UnfitError(f"{path.name} is no object. Publish the adapter again")
    return config


def _rank_and_scale(config: dict[str, Any]) -> tuple[int, float]:
    """Raises UnfitError where the config asks for more than LoRA of one rank and one scale."""
    if config.get("peft_type") != "LORA":
        raise _field(config, "peft_type", "only LORA is served")
    if config.get("bias", "none") != "none":
        raise _field(config, "bias", "TGI drops an adapter's biases. Train it with bias none")
    if config.get("init_lora_weights", True) not in _PLAIN_STARTS:
        raise _field(config, "init_lora_weights", "it presumes a changed base. Train it with true")
    if others := sorted(name for name, value in config.items() if value and name not in _UNDERSTOOD):
        raise _field(config, others[0], "TGI does not look at it and would serve another adapter. Train it without")
    return _numbers(config)


def _numbers(config: dict[str, Any]) -> tuple[int, float]:
    rank, alpha = config.get("r"), config.get("lora_alpha", 8)
    if type(rank) is not int or rank < 1:
        raise _field(config, "r", "a rank is a whole number from 1 on")
    if type(alpha) not in (int, float) or not abs(alpha) <= MOST_ALPHA:
        raise _field(config, "lora_alpha", f"it is a number of at most {MOST_ALPHA:g}")
    return rank, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _field(config: dict[str, Any], name: str, rule: str) -> UnfitError:
    return UnfitError(f"{ADAPTER_CONFIG_FILE}: {name} is {config.get(name)!r:.80}: {rule}")


def _modules(found: Mapping[str, Tensor], rank: int, base: BaseShape) -> frozenset[str]:
    """Raises UnfitError for a tensor that is no matrix of this base's, of another shape, or without its other side."""
    if base.model_type not in ADAPTER_BASES:
        known = ", ".join(sorted(ADAPTER_BASES))
        raise UnfitError(f"the base's model_type is {base.model_type!r}: TGI applies adapters on {known} only")
    modules = {_module(name, tensor, rank, base) for name, tensor in found.items()}
    for name in found:
        other = name.replace(".lora_A.", ".lora_B.") if ".lora_A." in name else name.replace(".lora_B.", ".lora_A.")
        if other not in found:
            raise UnfitError(f"{ADAPTER_WEIGHTS_FILE} has {name} and no {other}. Publish the adapter again")
    if not modules:
        raise UnfitError(f"{ADAPTER_WEIGHTS_FILE} has no tensor: it would answer as the base. Train it again")
    return frozenset(modules)


def _require_covered(found: Mapping[str, Tensor], config: dict[str, Any], base: BaseShape) -> None:
    """A file that lost some layers is another adapter. Where a pattern picks modules, it is left to the proof."""
    targets, layers = config.get("target_modules"), config.get("layers_to_transform")
    if not isinstance(targets, list) or config.get("exclude_modules"):
        return
    numbers = range(base.layers) if layers is None else layers if isinstance(layers, list) else [layers]
    wanted = (matrix_name(layer, module, "A") for layer in numbers for module in _targeted(targets))
    if lost := [name for name in wanted if name not in found]:
        what = f"{lost[0]}, one of {len(lost)} that its config targets"
        raise UnfitError(f"{ADAPTER_WEIGHTS_FILE} lacks {what}. Publish the adapter again")


def _targeted(targets: list[Any]) -> list[str]:
    """Modules that end in what the config names, as PEFT reads a list. Raises UnfitError for what names nothing."""
    if other := next((type(target).__name__ for target in targets if not isinstance(target, str)), None):
        rule = "they are texts that modules' names end in. Publish the adapter again"
        raise UnfitError(f"{ADAPTER_CONFIG_FILE}: target_modules holds a {other}: {rule}")
    return [module for module in ADAPTED_MODULES if any(f".{module}".endswith(f".{target}") for target in targets)]


def _module(name: str, tensor: Tensor, rank: int, base: BaseShape) -> str:
    match = _KEY.fullmatch(name)
    if match is None or match[2] not in ADAPTED_MODULES:
        served = ", ".join(ADAPTED_MODULES)
        raise UnfitError(f"{ADAPTER_WEIGHTS_FILE} has {name:.200}: TGI serves matrices of {served} only")
    if int(match[1]) >= base.layers:
        raise UnfitError(
            f"{ADAPTER_WEIGHTS_FILE} has {name}, and the base has {base.layers} layers: it is another base's"
        )
    inputs, outputs = dimensions(match[2], base)
    wanted = (rank, inputs) if match[3] == "A" else (outputs, rank)
    if tensor.shape != wanted:
        raise UnfitError(f"{name} is of {tensor.shape}: with r {rank} on this base it must be of {wanted}")
    return match[2]
