"""From logits to tokens."""

import math
from collections.abc import Sequence

import torch

from wardrobe_models.scoring import token_log_probabilities

from .errors import GenerationError
from .generation import Sampling

COLDEST = 1e-30
"""Lower temperatures are this one, which takes the likeliest token just so: float32 would make 0 of them."""


class Drawer:
    """Draws one request's tokens, with a generator of its own: neighbours in the batch do not change its draws."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self._sampling = sampling
        self._generator = torch.Generator(device).manual_seed(sampling.seed)

    def draw(self, logits: torch.Tensor) -> torch.Tensor:
        """A token from logits of (vocabulary,), as a scalar tensor."""
        # from the likeliest down, so that the smallest temperature makes no infinity
        scores = (logits - logits.max()) / max(self._sampling.temperature, COLDEST)
        if self._sampling.top_k is not None and self._sampling.top_k < scores.shape[-1]:
            scores = scores.masked_fill(scores < scores.topk(self._sampling.top_k).values[-1], -torch.inf)
        probabilities = scores.softmax(-1)
        if self._sampling.top_p is not None:
            probabilities = _nucleus(probabilities, self._sampling.top_p)
        # by one random number: torch.multinomial draws one per token of the vocabulary
        bounds = probabilities.double().cumsum(-1)
        point = torch.rand((), generator=self._generator, device=logits.device, dtype=torch.float64) * bounds[-1]
        # the first bound above the point belongs to a token whose probability is not zero; of no numbers there is none
        return torch.searchsorted(bounds, point, right=True).clamp(max=len(bounds) - 1)


def _nucleus(probabilities: torch.Tensor, mass: float) -> torch.Tensor:
    """Keep the likeliest tokens that together reach `mass` (Holtzman et al. 2020); at least one."""
    ordered, order = probabilities.sort(descending=True)
    ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= mass, 0)
    return torch.zeros_like(probabilities).scatter(0, order, ordered)


def choose(logits: torch.Tensor, drawers: Sequence[Drawer | None]) -> tuple[list[int], list[float]]:
    """Next token of each row of (rows, vocabulary), and its log-probability before any warping.

    A row whose logits are no numbers gets a log-probability that is none either.
    """
    tokens = logits.argmax(-1)
    for row, drawer in enumerate(drawers):
        if drawer is not None:
            tokens[row] = drawer.draw(logits[row])
    return tokens.tolist(), token_log_probabilities(logits, tokens).tolist()


def score(logits: torch.Tensor, following: Sequence[int]) -> list[float]:
    """Log-probability of the token after each position of (positions, vocabulary); the last may have none.

    Raises GenerationError where one is no number.
    """
    tokens = torch.tensor(following, dtype=torch.long, device=logits.device)
    scores: list[float] = token_log_probabilities(logits[: len(following)], tokens).tolist()
    if not all(map(math.isfinite, scores)):
        raise GenerationError("the model's output is not a number")
    return scores
