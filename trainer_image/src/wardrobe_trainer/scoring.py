"""Log-probabilities of tokens that are already there. Nothing is generated here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel

BATCH_TOKENS = 2048
"""Tokens of one forward pass, padding counted: bounds the logits at 2048 x vocabulary values."""


@dataclass(frozen=True)
class Passage:
    """Tokens, of which some are scored."""

    ids: list[int]
    positions: list[int]
    """Ascending indices into `ids`, none of them 0, which nothing precedes."""


@torch.inference_mode()
def log_probabilities(model: PeftModel, passages: Sequence[Passage]) -> list[torch.Tensor]:
    """Log-probability (natural) of each passage's scored tokens, given all before them; float64 on CPU, in order."""
    found: dict[int, torch.Tensor] = {}
    for batch in batches([len(passage.ids) for passage in passages]):
        logits = forward(model, [passages[index].ids for index in batch])
        for row, index in enumerate(batch):
            found[index] = _selected(logits[row], passages[index])
    return [found[index] for index in range(len(passages))]


def batches(lengths: Sequence[int], limit: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Indices grouped so that no group, padded to its longest, exceeds `limit` tokens (unless it is a single one)."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (lengths[index], index)):
        if group and lengths[index] * (len(group) + 1) > limit:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def forward(model: PeftModel, rows: list[list[int]]) -> torch.Tensor:
    """Logits (rows, longest row, vocabulary). Padding is on the right, where a causal model's tokens cannot see it."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=model.device)
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits


def _selected(logits: torch.Tensor, passage: Passage) -> torch.Tensor:
    positions = torch.tensor(passage.positions, dtype=torch.long, device=logits.device)
    targets = torch.tensor(passage.ids, device=logits.device)[positions]
    chosen = logits[positions - 1].float()
    return (chosen.gather(1, targets[:, None])[:, 0] - chosen.logsumexp(dim=1)).double().cpu()
