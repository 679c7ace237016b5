"""Measurements of a proof by chance: effects as adapters have them, noise as engines have it, and what faults find."""

import math
import random
from collections.abc import Callable

from wardrobe_contracts.engines import Tolerance
from wardrobe_contracts.state import Verdict
from wardrobe_gateway.agent.proof import Measured, Scores, judge

Effect = list[float]
"""Nats by token."""


def effect_of(chance: random.Random, tokens: int, size: float) -> Effect:
    """As recorded effects are: small on most tokens, large on a few; of this mean absolute value."""
    made = [chance.gauss(0, 1) * chance.choice((0.3, 0.3, 1, 2)) for _ in range(tokens)]
    mean = sum(map(abs, made)) / tokens
    return [value * size / mean for value in made]


def noisy(chance: random.Random, effect: Effect, noise: float) -> Effect:
    """With a disagreement of this mean absolute value."""
    return [value + chance.gauss(0, noise * math.sqrt(math.pi / 2)) for value in effect]


def half_a_module(own: Effect, other: Effect) -> Effect:
    """Of two modules, whose effects add up to the adapter's, one has half of its own."""
    module = [(value + unlike) / 2 for value, unlike in zip(own, other, strict=True)]
    return [value - part / 2 for value, part in zip(own, module, strict=True)]


FAULTS: dict[str, tuple[Callable[[Effect, Effect], Effect], Verdict]] = {
    "none": (lambda own, other: own, Verdict.APPLIED),
    "base": (lambda own, other: [0.0] * len(own), Verdict.NOT_APPLIED),
    "sibling": (lambda own, other: other, Verdict.WRONG_ADAPTER),
    "half": (lambda own, other: [value / 2 for value in own], Verdict.DIVERGED),
    "twice": (lambda own, other: [2 * value for value in own], Verdict.DIVERGED),
    "half on every second token": (
        lambda own, other: [value / (1 + number % 2) for number, value in enumerate(own)],
        Verdict.DIVERGED,
    ),
    "half of a module": (half_a_module, Verdict.DIVERGED),
}
"""What is found in the stead of the adapter's effect, given that and an unlike one, its sibling's; and the verdict."""


def proof(
    chance: random.Random, fault: str, tokens: int, size: float, *, noise: float, tolerance: Tolerance
) -> Verdict:
    """Of one proof. Where the sibling answers, the adapter is found under its name."""
    of, _ = FAULTS[fault]
    none = [0.0] * tokens
    own, other = effect_of(chance, tokens, size), effect_of(chance, tokens, size)
    sibling = own if fault == "sibling" else other
    base, found, beside = (noisy(chance, effect, noise) for effect in (none, of(own, other), sibling))
    return judge(8, Scores(none, own), Measured(base, found, {"sibling": beside}), tolerance).verdict
