"""The frozen base with what is known of it, for an engine."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_models.chat import Chat, load_chat
from wardrobe_models.errors import BadBaseError
from wardrobe_models.loading import load_base

ATTENTION_KINDS = {"full_attention", "sliding_attention"}
"""Kinds of layers whose state is keys and values alone, which is what `cache` can join and split."""


@dataclass(frozen=True)
class Base:
    """A loaded base and what is known of it."""

    model: PreTrainedModel
    chat: Chat
    context_length: int

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device


def load(folder: Path, variant: Variant, prelude: str = "") -> Base:
    """Read a base from disk; the prelude stands before its chat template.

    Raises BadBaseError, or OSError where files are missing.
    """
    model = load_base(folder, variant, Accelerator.GPU if torch.cuda.is_available() else Accelerator.CPU)
    text_config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(text_config, "layer_types", None) or ["full_attention"])
    if other := kinds - ATTENTION_KINDS:
        raise BadBaseError(f"layers of kind {', '.join(sorted(other))} cannot be decoded in one batch here")
    return Base(model, load_chat(folder, prelude), text_config.max_position_embeddings)
