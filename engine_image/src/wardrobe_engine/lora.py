"""LoRA beside frozen linear layers, another adapter for every row of a batch.

PEFT's own mixed batch (`adapter_names`) walks all modules and loops over adapters in every layer: with 32 adapters
in a batch it takes several times as long as the base (benchmarks/engine_batch.py). Here every layer keeps the matrices
of all adapters stacked, and a batch gathers its rows' matrices by slot. A test holds the results to PEFT's.
"""

from dataclasses import dataclass

import torch
from torch import nn

BASE_SLOT = 0
"""Slot whose matrices are zero: rows that the base answers."""

Slots = int | torch.Tensor
"""Which adapter each row uses: one slot for all rows, or a tensor of (rows,) int64."""


@dataclass
class Selection:
    """What the next forward applies. All layers of a model share one; only the model's thread changes it."""

    slots: Slots = BASE_SLOT


class LoraLinear(nn.Module):
    """A frozen linear layer and, per slot, A (inputs, rank) and B (rank, outputs) with B scaled by alpha / rank.

    Ranks below the widest are filled up with zeros. Matrices are float32 whatever the base computes in, as PEFT keeps
    them for inference.
    """

    def __init__(self, base: nn.Linear, selection: Selection) -> None:
        super().__init__()
        self.base = base
        self.selection = selection
        device = base.weight.device
        self.a = torch.zeros(1, base.in_features, 1, device=device)
        self.b = torch.zeros(1, 1, base.out_features, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows of (rows, length, inputs) to (rows, length, outputs), each through its own adapter."""
        result: torch.Tensor = self.base(x)
        slots = self.selection.slots
        if isinstance(slots, int):
            if slots == BASE_SLOT:
                return result
            delta = x.float() @ self.a[slots] @ self.b[slots]
        else:
            low = torch.bmm(x.float(), self.a.index_select(0, slots))
            delta = torch.bmm(low, self.b.index_select(0, slots))
        return result + delta.to(result.dtype)

    def grow(self, slots: int, rank: int) -> None:
        """Have at least so many slots, of at least this rank. New ones answer as the base."""
        existing, inputs, widest = self.a.shape
        slots, rank = max(slots, existing), max(rank, widest)
        if (slots, rank) != (existing, widest):
            a, b = self.a.new_zeros(slots, inputs, rank), self.b.new_zeros(slots, rank, self.b.shape[2])
            a[:existing, :, :widest], b[:existing, :widest] = self.a, self.b
            self.a, self.b = a, b

    def write(self, slot: int, a: torch.Tensor, b: torch.Tensor) -> None:
        """Put matrices into an empty slot: A (rank, inputs) and B (outputs, rank), scaled."""
        rank = a.shape[0]
        self.a[slot, :, :rank] = a.T
        self.b[slot, :rank] = b.T

    def clear(self, slot: int) -> None:
        """Make a slot answer as the base."""
        self.a[slot] = 0
        self.b[slot] = 0
