"""What adapters weigh, by rank and layers: an estimate from the base's shape, as no file is read for it."""

from collections.abc import Iterable

from wardrobe.api.adapter import AdapterSpec
from wardrobe_contracts.layer_sizes import layer_sizes
from wardrobe_contracts.routes import BaseShape

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""What `all-linear` means on bases of Llama's kind. Layers that join some of these weigh less."""


def adapted(adapter: AdapterSpec) -> frozenset[str]:
    """Own names of the layers that an adapter adapts, of each layer of the base."""
    names = {name.rpartition(".")[2] for name in adapter.lora.target_modules}
    return frozenset(LINEAR if names == {"all-linear"} else names)


def matrices(rank: int, modules: Iterable[str], base: BaseShape) -> int:
    """Numbers in A (rank, inputs) and B (outputs, rank) of all layers; an unknown name counts as the largest."""
    sizes = {name: sum(size) for name, size in layer_sizes(base).items()}
    return rank * base.layers * sum(sizes.get(name, max(sizes.values())) for name in modules)
