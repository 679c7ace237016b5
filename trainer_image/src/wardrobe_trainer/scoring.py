"""Log-probabilities of tokens that are already there. Nothing is generated here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from wardrobe_contracts.exits import Reason
from wardrobe_contracts.probes import LEAST_LOG_PROBABILITY, MOST_LOG_PROBABILITY
from wardrobe_models.scoring import token_log_probabilities

from .problems import bad_adapter, bad_base

BATCH_TOKENS = 2048
"""Tokens of one forward pass, padding counted: bounds the logits at 2048 x vocabulary values."""


@dataclass(frozen=True)
class Passage:
    """Tokens, of which some are scored."""

    ids: list[int]
    positions: list[int]
    """Ascending indices into `ids`, none of them 0, which nothing precedes."""


@torch.inference_mode()
def log_probabilities(model: PreTrainedModel | PeftModel, passages: Sequence[Passage]) -> list[torch.Tensor]:
    """Log-probability (natural) of each passage's scored tokens, given all before them; float64 on CPU, in order."""
    found: dict[int, torch.Tensor] = {}
    for batch in batches([len(passage.ids) for passage in passages]):
        logits = forward(model, [passages[index].ids for index in batch])
        for row, index in enumerate(batch):
            found[index] = _selected(logits[row], passages[index])
    return [found[index] for index in range(len(passages))]


def base_and_candidate(model: PeftModel, passages: Sequence[Passage]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Log-probabilities of the base alone and with its adapter. Raises TaskError where either's are no numbers."""
    candidate = log_probabilities(model, passages)
    with model.disable_adapter():
        base = log_probabilities(model, passages)
    require_numbers(base)
    if not are_numbers(candidate):
        raise bad_adapter(
            value="the trained adapter",
            rule="with it, the base scores held-out answers with values that are no numbers",
            next_step="Lower spec.training.learningRate and train again",
        )
    return base, candidate


def require_numbers(base: list[torch.Tensor]) -> None:
    """Of the base's scores. Raises TaskError."""
    if not are_numbers(base):
        raise bad_base(
            Reason.BASE_MALFORMED,
            field="spec.baseModel.name",
            value="the base's weights",
            rule="they score held-out answers with values that are no numbers",
            next_step="Copy the model again, all of it from one revision",
        )


def are_numbers(rows: list[torch.Tensor]) -> bool:
    """Whether all scores are."""
    return all(bool(((row >= LEAST_LOG_PROBABILITY) & (row <= MOST_LOG_PROBABILITY)).all()) for row in rows)


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


def forward(model: PreTrainedModel | PeftModel, rows: list[list[int]]) -> torch.Tensor:
    """Logits (rows, longest row, vocabulary). Padding is on the right, where a causal model's tokens cannot see it."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=model.device)
    logits: torch.Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits


def _selected(logits: torch.Tensor, passage: Passage) -> torch.Tensor:
    positions = torch.tensor(passage.positions, dtype=torch.long, device=logits.device)
    targets = torch.tensor(passage.ids, device=logits.device)[positions]
    return token_log_probabilities(logits[positions - 1], targets).double().cpu()
