"""The model and its adapters, as one thread uses them: prefill one request, or decode a batch by one token."""

import torch
from torch import nn
from transformers import DynamicCache

from wardrobe_models.adapter_files import linear_features

from .adapter_files import AdapterWeights
from .cache import Batch
from .loading import Base
from .lora import BASE_SLOT, LoraLinear, Selection, Slots


class Model:
    """A base with slots for adapters. Not safe for use by several threads."""

    def __init__(self, base: Base) -> None:
        self.device = base.device
        self._model = base.model
        self._selection = Selection()
        self._layers: dict[str, LoraLinear] = {}
        self._used: set[int] = {BASE_SLOT}
        self.features = linear_features(base.model)

    @torch.inference_mode()
    def add(self, adapter: AdapterWeights) -> int:
        """Give an adapter a slot. Whatever it raises, no slot answers differently than before."""
        slot = min(set(range(len(self._used) + 1)) - self._used)
        slots = max(slot, *self._used) + 1
        for name in adapter.matrices:
            self._wrap(name)
        # all layers, since rows with this slot pass through all of them
        for name, layer in self._layers.items():
            layer.grow(slots, adapter.rank if name in adapter.matrices else 1)
            layer.clear(slot)
            if name in adapter.matrices:
                layer.write(slot, *adapter.matrices[name])
        self._used.add(slot)
        return slot

    @torch.inference_mode()
    def remove(self, slot: int) -> None:
        """Free a slot, which no request may be using. The next adapter takes its place."""
        self._used.discard(slot)
        for layer in self._layers.values():
            layer.clear(slot)

    @torch.inference_mode()
    def prefill(
        self, ids: list[int], slot: int, *, every_position: bool, cache: DynamicCache | None = None
    ) -> tuple[torch.Tensor, DynamicCache]:
        """Take in a prompt, or its next piece after those in `cache`: logits, float32 of (positions, vocabulary), and
        the row's cache.

        Positions are all of the prompt's, or the last alone. Requests are prefilled one by one, so that a score never
        depends on who else waits: LLM.int8 picks outlier columns over everything it is given at once.
        """
        cache = DynamicCache() if cache is None else cache
        logits = self._forward(
            torch.tensor([ids], device=self.device),
            slot,
            past_key_values=cache,
            logits_to_keep=0 if every_position else 1,
        )
        return logits[0], cache

    @torch.inference_mode()
    def decode(self, batch: Batch) -> torch.Tensor:
        """Take in each row's newest token: logits of what comes next, float32 of (rows, vocabulary)."""
        attention = nn.functional.pad(batch.mask, (0, 1), value=1)
        logits = self._forward(
            torch.tensor(batch.tokens, device=self.device)[:, None],
            batch.selection(),
            past_key_values=batch.cache,
            # without padding no mask is needed, and attention is faster
            attention_mask=attention if min(batch.lengths) < batch.mask.shape[1] else None,
            position_ids=torch.tensor(batch.lengths, device=self.device)[:, None],
        )
        return logits[:, -1]

    def _forward(self, ids: torch.Tensor, slots: Slots, **arguments: object) -> torch.Tensor:
        self._selection.slots = slots
        logits: torch.Tensor = self._model(input_ids=ids, use_cache=True, **arguments).logits
        return logits.float()

    def _wrap(self, name: str) -> None:
        """Give a linear module its place for adapters, when the first one needs it."""
        if name in self._layers:
            return
        base = self._model.get_submodule(name)
        if not isinstance(base, nn.Linear):
            raise TypeError(f"{name} is no linear layer")
        self._layers[name] = LoraLinear(base, self._selection)
        self._model.set_submodule(name, self._layers[name])
