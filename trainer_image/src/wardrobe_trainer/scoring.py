"""Log-probabilities of tokens that are already there. Nothing is generated here."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from wardrobe_contracts.exits import Reason
from wardrobe_contracts.probes import LEAST_LOG_PROBABILITY, MOST_LOG_PROBABILITY
from wardrobe_models.scoring import token_log_probabilities

from .candidate import TRAINED, Candidate
from .problems import bad_base

BATCH_TOKENS = 2048
"""Tokens of one forward pass, padding counted: bounds its activations."""
BLOCK = 128
"""Positions that have logits at a time, whatever the sequences' length: 128 x vocabulary values."""


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
        chosen = [passages[index] for index in batch]
        found.update(zip(batch, _scores(model, chosen), strict=True))
    return [found[index] for index in range(len(passages))]


def base_and_candidate(model: PeftModel, passages: Sequence[Passage]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Log-probabilities of the base alone and with its adapter. Raises TaskError where either's are no numbers."""
    candidate = candidate_scores(model, passages)
    return base_scores(model, passages), candidate


def base_scores(model: PeftModel, passages: Sequence[Passage]) -> list[torch.Tensor]:
    """Log-probabilities of the base alone. Raises TaskError where they are no numbers."""
    with model.disable_adapter():
        found = log_probabilities(model, passages)
    require_numbers(found)
    return found


def candidate_scores(
    model: PeftModel, passages: Sequence[Passage], candidate: Candidate = TRAINED
) -> list[torch.Tensor]:
    """Log-probabilities of the base with its adapter. Raises TaskError where they are no numbers."""
    found = log_probabilities(model, passages)
    if not are_numbers(found):
        rule = "with it, the base scores held-out answers with values that are no numbers"
        raise candidate.invalid(rule, candidate.diverged)
    return found


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


def _scores(model: PreTrainedModel | PeftModel, passages: Sequence[Passage]) -> list[torch.Tensor]:
    """Of one batch's passages."""
    rows = [row for row, passage in enumerate(passages) for _ in passage.positions]
    if not rows:
        return [torch.empty(0, dtype=torch.float64) for _ in passages]
    at = [position for passage in passages for position in passage.positions]
    read = decode(model, [passage.ids for passage in passages])
    states: torch.Tensor = read.last_hidden_state[torch.tensor(rows), torch.tensor(at) - 1]
    targets = torch.tensor([passages[row].ids[position] for row, position in zip(rows, at, strict=True)])
    blocks = zip(torch.split(states, BLOCK), torch.split(targets.to(states.device), BLOCK), strict=True)
    found = torch.cat([token_log_probabilities(logits(model, read, block), ids) for block, ids in blocks])
    return list(torch.split(found.double().cpu(), [len(passage.positions) for passage in passages]))


def decode(model: PreTrainedModel | PeftModel, rows: list[list[int]]) -> Any:
    """What the model gives to its output layer; of that, `last_hidden_state` is (rows, longest row, width).

    Padding is on the right, where a causal model's tokens cannot see it.
    """
    longest = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=model.device)
    return decoder_of(model)(input_ids=ids, attention_mask=mask, use_cache=False)


def logits(model: PreTrainedModel | PeftModel, read: Any, states: torch.Tensor) -> torch.Tensor:
    """Logits (positions, vocabulary) of states (positions, width), which are of those that the decoder gave.

    By the model's own forward pass, since some models scale or cap what their output layer gives.
    """
    read.last_hidden_state = states[None]
    with _giving(decoder_of(model), read):
        found: torch.Tensor = model(inputs_embeds=states[None], use_cache=False).logits
    return found[0]


def decoder_of(model: PreTrainedModel | PeftModel) -> Any:
    """The model without its output layer."""
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    return base.get_decoder()


@contextmanager
def _giving(decoder: Any, output: Any) -> Iterator[None]:
    """The decoder gives this and computes nothing."""
    own = vars(decoder).get("forward")
    decoder.forward = lambda *_, **__: output
    try:
        yield
    finally:
        if own is None:
            del decoder.forward
        else:
            decoder.forward = own
