"""Where the base goes that an adapter is measured on: one GPU, or in whole layers over all that the pod has.

Layers stay in the order in which they are computed: ids go to the first GPU, what a layer gives goes to where the next
one lies, by accelerate's hooks, and each value is computed by the kernels that would compute it on one GPU. Nothing is
ever left in the host's memory or on its disk, as accelerate would: what the GPUs together cannot hold is not assessed.

Without a GPU the tests see the map, hooks on real weights between two names of the CPU, and a pass over two imitated
GPUs, where tensors have devices and no values. Nobody has seen two real ones: not what bitsandbytes does on the second,
not the copies between them, and not whether the tenth that stays free is enough for long rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.quantizers.base import get_keys_to_not_convert

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_models.loading import compute_dtype, skeleton

from .accelerators import GIB, look, require
from .console import say
from .problems import TaskError

DeviceMap = dict[str, int]
"""Index of a GPU by module, whose parts lie with it; the module "" is all."""
MOST_PERCENT = 90
"""Of a GPU's free memory, what weights may take where there are several: in the rest bitsandbytes quantizes, and layers
compute. transformers keeps as much for its quantizers (`adjust_max_memory`)."""
QUANTIZED_BYTES = {Variant.INT8: 1.0, Variant.NF4: 0.5, Variant.FP4: 0.5}
"""Of a weight that bitsandbytes holds, without what it keeps to undo that."""


def place(accelerator: Accelerator, base: Path, variant: Variant) -> DeviceMap | None:
    """Where to load the variant; None without GPUs.

    Raises TaskError: AcceleratorUnusable, or OutOfMemory where only memory lacks, since another variant may still fit.
    """
    if accelerator is not Accelerator.GPU:
        return None
    require(look(0), 1, 0)
    model, free = skeleton(base), free_bytes()
    found = device_map(model, variant, free)
    if found is None:
        raise too_small(variant, weight_bytes(model, variant), free)
    if len(used := sorted(set(found.values()))) > 1:
        say(f"{variant} is spread over {len(used)} GPUs")
    return found


def free_bytes() -> list[int]:
    """Of each GPU that this pod sees."""
    return [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]


def allocated_bytes() -> int:
    """Of all GPUs' memory, what this process has had at once on each."""
    return sum(torch.cuda.max_memory_allocated(index) for index in range(torch.cuda.device_count()))


def too_small(variant: Variant, needed: int, free: Sequence[int]) -> TaskError:
    """The variant finds no room."""
    each = ", ".join(f"{found / GIB:.1f}" for found in free)
    several = f" on {len(free)} GPUs, of which whole layers may fill {MOST_PERCENT} %" if len(free) > 1 else ""
    problem = Problem(
        field="spec.parallelism.accelerator",
        value="GPU",
        rule=f"{variant} takes {needed / GIB:.1f} GiB at least, for the base's weights alone, and {each} GiB are free"
        f"{several}",
        next_step="Choose nodes with larger ones by spec.pod.nodeSelector, or more of them by "
        "spec.parallelism.processesPerNode",
    )
    return TaskError(ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, problem)


def weight_bytes(model: PreTrainedModel, variant: Variant) -> int:
    """What the base's weights take on GPUs, at least. `model` may be a skeleton."""
    return sum(_sizes(model, variant).values())


def device_map(model: PreTrainedModel, variant: Variant, free: Sequence[int]) -> DeviceMap | None:
    """One GPU where that is enough, else all, evenly filled; None where they are too small together.

    accelerate's own map is not asked for: it keeps room on the first GPU for a layer that would come from the host.
    """
    sizes = _sizes(model, variant)
    if sum(sizes.values()) <= (free[0] if len(free) == 1 else free[0] * MOST_PERCENT // 100):
        return {"": 0}
    pieces = _pieces(model, sizes)
    rooms = ([found * percent // 100 for found in free] for percent in range(1, MOST_PERCENT + 1))
    found = next(filter(None, (_filled(pieces, room) for room in rooms)), None) if len(free) > 1 else None
    return found and found | _tied(model, found)


def _filled(pieces: Mapping[str, int], rooms: Sequence[int]) -> DeviceMap | None:
    """One piece after another, one GPU after another; None where they do not find room."""
    found: DeviceMap = {}
    index, taken = 0, 0
    for name, size in pieces.items():
        while taken + size > rooms[index]:
            index, taken = index + 1, 0
            if index == len(rooms):
                return None
        found[name] = index
        taken += size
    return found


def _pieces(model: PreTrainedModel, sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes of what has to lie together, in the order of the computation: layers, and what is outside of them."""
    names = _whole(model, "", frozenset(model._no_split_modules or ()))
    return {piece: sum(size for name, size in sizes.items() if _within(name, piece)) for piece in names}


def _whole(module: nn.Module, name: str, kept: frozenset[str]) -> Iterator[str]:
    children = dict(module.named_children())
    if name and (type(module).__name__ in kept or not children):
        yield name
        return
    prefix = f"{name}." if name else ""
    own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    yield from (prefix + tensor for tensor, _ in own)
    for child, part in children.items():
        yield from _whole(part, prefix + child, kept)


def _tied(model: PreTrainedModel, found: DeviceMap) -> DeviceMap:
    """What has its weights from elsewhere, such as an output layer from the embedding, lies there."""

    def piece_of(weight: str) -> str:
        return next(piece for piece in found if _within(weight, piece))

    return {piece_of(to): found[piece_of(source)] for to, source in model.all_tied_weights_keys.items()}


def _within(name: str, piece: str) -> bool:
    return name == piece or name.startswith(f"{piece}.")


def _sizes(model: PreTrainedModel, variant: Variant) -> dict[str, int]:
    """Bytes on a GPU by tensor, each that is tied once."""
    quantized = _quantized(model) if variant in QUANTIZED_BYTES else set()
    plain = compute_dtype(Accelerator.GPU).itemsize
    weights = {
        name: int(weight.numel() * (QUANTIZED_BYTES[variant] if name in quantized else plain))
        for name, weight in model.named_parameters()
    }
    return weights | {name: buffer.nbytes for name, buffer in model.named_buffers()}


def _quantized(model: PreTrainedModel) -> set[str]:
    """Weights that transformers gives bitsandbytes."""
    left = set(get_keys_to_not_convert(model))
    return {f"{name}.weight" for name, part in model.named_modules() if type(part) is nn.Linear and name not in left}
