"""Keys and values of a batch whose rows come and go between steps.

Rows are aligned at their ends: a shorter one is padded on the left, and the attention mask hides the padding. Rotary
positions are in the keys already when they are stored, so padding never moves a token.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from .lora import Slots

ROOM = 64
"""Tokens of room that a layer is given when it has none."""


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers leaves it untyped
    """Keys and values with room behind them: transformers' own layer copies all of them for every token.

    With 32 rows of 900 tokens that copying is a third of a step on CPU.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self._roomy = keys, values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (rows, heads, new tokens, head size) to both, and give all there is."""
        cached = self.get_seq_length()
        length = cached + key_states.shape[2]
        keys, values = self._roomy
        if length > keys.shape[2]:
            room = (0, 0, 0, length - cached + ROOM)
            keys, values = self._roomy = pad(keys[:, :, :cached], room), pad(values[:, :, :cached], room)
        keys[:, :, cached:length], values[:, :, cached:length] = key_states, value_states
        self.keys, self.values = keys[:, :, :length], values[:, :, :length]
        return self.keys, self.values


@dataclass
class Prefilled:
    """One request after its prompt went through the model."""

    cache: DynamicCache
    """Keys and values of one row, (1, heads, length, head size) per layer."""
    length: int
    """Tokens of the prompt."""
    token: int
    """The first answer token, not yet in the cache."""
    slot: int


class Batch:
    """Decoding state of all running requests, a row each; lists and tensors are in row order."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.cache = DynamicCache()
        self.mask = torch.zeros(0, 0, dtype=torch.long, device=device)
        """(rows, cached length): 1 where a row has a token, 0 where it has padding."""
        self.tokens: list[int] = []
        """The newest token of each row, which the next step takes in."""
        self.lengths: list[int] = []
        """Tokens of each row in the cache, which is also the position of its newest one."""
        self.slots: list[int] = []

    def __len__(self) -> int:
        return len(self.tokens)

    def selection(self) -> Slots:
        """The rows' adapters, as the layers take them."""
        if len(set(self.slots)) == 1:
            return self.slots[0]
        return torch.tensor(self.slots, device=self._device)

    def join(self, newcomers: list[Prefilled]) -> None:
        """Append rows. Whatever it raises, the batch is as it was."""
        parts = [self.cache] if self.mask.numel() else []
        masks = [self.mask] if self.mask.numel() else []
        parts += [one.cache for one in newcomers]
        masks += [torch.ones(1, one.length, dtype=torch.long, device=self._device) for one in newcomers]
        width = max(mask.shape[1] for mask in masks)
        mask, cache = torch.cat([pad(mask, (width - mask.shape[1], 0)) for mask in masks]), _joined(parts, width)
        self.mask, self.cache = mask, cache
        self.tokens += [one.token for one in newcomers]
        self.lengths += [one.length for one in newcomers]
        self.slots += [one.slot for one in newcomers]

    def advance(self, tokens: list[int]) -> None:
        """Note what a step did: each row's newest token is in the cache now, and `tokens` come after them."""
        self.mask = pad(self.mask, (0, 1), value=1)
        self.lengths = [length + 1 for length in self.lengths]
        self.tokens = tokens

    def keep(self, rows: list[int]) -> None:
        """Drop all other rows, and the padding that none of these needs."""
        if len(rows) == len(self):
            return
        self.tokens, self.lengths, self.slots = (
            [values[row] for row in rows] for values in (self.tokens, self.lengths, self.slots)
        )
        if not rows:
            self.cache, self.mask = DynamicCache(), self.mask[:0, :0]
            return
        width = max(self.lengths)
        index = torch.tensor(rows, device=self._device)
        self.mask = self.mask[index, -width:]
        self.cache = _of((keys[index, :, -width:], values[index, :, -width:]) for keys, values in _layers(self.cache))


def _joined(caches: list[DynamicCache], width: int) -> DynamicCache:
    """Rows of several caches under each other."""
    layers = zip(*map(_layers, caches), strict=True)
    return _of(
        (_stack([keys for keys, _ in parts], width), _stack([values for _, values in parts], width)) for parts in layers
    )


def _layers(cache: DynamicCache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values per layer."""
    return [(keys, values) for keys, values, _ in cache]


def _of(layers: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> DynamicCache:
    cache = DynamicCache()
    cache.layers = [GrowingLayer(keys, values) for keys, values in layers]
    return cache


def _stack(parts: list[torch.Tensor], width: int) -> torch.Tensor:
    """Parts of (rows, heads, length, head size) under each other, aligned at their ends."""
    return torch.cat([pad(part, (0, 0, width - part.shape[2], 0)) for part in parts])
