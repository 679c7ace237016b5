"""From logits to tokens."""

import math
from collections.abc import Sequence

import torch

from .errors import GenerationError
from .generation import Sampling


class Drawer:
    """Draws one request's tokens, with a generator of its own: neighbours in the batch do not change its draws."""

    def __init__(self, sampling: Sampling, device: torch.device) -> None:
        self._sampling = sampling
        self._generator = torch.Generator(device).manual_seed(sampling.seed)

    def draw(self, logits: torch.Tensor) -> torch.Tensor:
        """A token from logits of (vocabulary,), as a scalar tensor."""
        scores = logits / self._sampling.temperature
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
    logprobs = logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
    return tokens.tolist(), logprobs.tolist()


def score(logits: torch.Tensor, ids: Sequence[int]) -> list[float]:
    """Log-probability of each token but the first, from logits of (positions, vocabulary) of the same tokens.

    Raises GenerationError where one is no number.
    """
    following = torch.tensor(ids[1:], device=logits.device)
    logprobs: list[float] = logits[:-1].log_softmax(-1).gather(-1, following[:, None])[:, 0].tolist()
    if not all(map(math.isfinite, logprobs)):
        raise GenerationError("the model's output is not a number")
    return logprobs
