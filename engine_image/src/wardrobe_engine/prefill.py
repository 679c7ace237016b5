"""Taking in a prompt, piece by piece: memory and the time of one pass are bounded whatever the prompt's length."""

from collections.abc import Callable

import torch
from transformers import DynamicCache

from .model import Model
from .sampling import score

PIECE = 1024
"""Tokens of one pass. Logits of all of its positions, where a prompt is scored, are 0.5 GB with 128k tokens to choose
from; of a prompt of 32k tokens they would be 17. Shorter prompts, as probes are, go through in one pass, as assess
scores them: what LLM.int8 rounds depends on the rows it is given together."""


def take_in(
    model: Model, ids: list[int], slot: int, alive: Callable[[], None], *, scored: bool, limit: int = PIECE
) -> tuple[torch.Tensor, list[float], DynamicCache]:
    """Logits after the last token, (1, vocabulary); the prompt's scores, if asked for; and the row's cache.

    Calls `alive` after every pass, of at most `limit` tokens. Raises GenerationError where a score is no number.
    """
    cache, scores = DynamicCache(), list[float]()
    for start in range(0, len(ids), limit):
        piece = ids[start : start + limit]
        logits, cache = model.prefill(piece, slot, every_position=scored, cache=cache)
        if scored:
            scores += score(logits, ids[start + 1 : start + 1 + len(piece)])
        last = logits[-1:].clone()  # a view would keep the logits of all positions
        alive()
    return last, scores, cache
