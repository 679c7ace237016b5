"""Which adapter answers, judged by scores. Pure: everything measured comes in, a verdict goes out.

An effect is a score minus the base's, token by token: what two stacks disagree by on the base is mostly the same under
an adapter, and drops out. See docs/adr/0032-what-a-proof-measures.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import Tolerance
from wardrobe_contracts.engines.tolerances import CERTAIN
from wardrobe_contracts.probes import Probes
from wardrobe_contracts.state import ProofNumbers, Reason, Verdict

Pairs = Sequence[tuple[float, float]]
"""Of each token its score while it was generated, and in one prefill afterwards."""


@dataclass(frozen=True)
class Scores:
    """Log-probability of every completion token, all probes in a row."""

    base: Sequence[float]
    adapter: Sequence[float]

    @property
    def effect(self) -> list[float]:
        """The adapter's."""
        return _effect(self.adapter, self.base)


@dataclass(frozen=True)
class Measured:
    """The same tokens, scored on this replica."""

    base: Sequence[float]
    own: Sequence[float]
    others: Mapping[str, Sequence[float]]
    """Under the department's other loaded adapters."""


@dataclass(frozen=True)
class Decoded:
    """Tokens of answers that the adapter generated here, by what else the engine had been asked."""

    alone: Pairs
    """Without others."""
    among: Pairs
    """In one batch with others' answers."""
    after: Sequence[Pairs]
    """To each text that others had been asked, where any token of it is read as it was made."""

    def filled_by(self, more: "Decoded") -> "Decoded":
        """With what it lacks of another try."""
        return Decoded(self.alone or more.alone, self.among or more.among, self.after or more.after)


@dataclass(frozen=True)
class Judgement:
    """What a proof says."""

    verdict: Verdict
    reason: Reason
    message: str
    numbers: ProofNumbers | None = None


@dataclass(frozen=True)
class Yardstick:
    """The recorded effect, and how far the engine's noise may take what is found from it, or from none."""

    effect: Sequence[float]
    tolerance: Tolerance

    @cached_property
    def separation(self) -> float:
        """Nats per token."""
        return _mean(self.effect)

    @cached_property
    def allowed(self) -> float:
        """Mean distance (nats per token) from an effect that is the same."""
        return self.tolerance.allowed(self.separation, len(self.effect))

    @cached_property
    def share_allowed(self) -> float:
        """How far a share may be from the true one; infinite where nothing was recorded."""
        return CERTAIN * self.tolerance.share_noise(self.effect)

    def share(self, found: Sequence[float]) -> float:
        """How much of the effect is in what was found: 1 for all, 0 for nothing, or for something unlike it."""
        energy = sum(value * value for value in self.effect)
        return sum(here * value for here, value in zip(found, self.effect, strict=True)) / energy if energy else 0.0

    def is_all(self, found: Sequence[float]) -> bool:
        """The share tells it from a part of the effect, the distance from an effect with something else beside it."""
        near = abs(self.share(found) - 1) <= self.share_allowed
        return near and _distance(found, self.effect) <= self.allowed

    def is_none(self, found: Sequence[float]) -> bool:
        """Whether nothing was found."""
        return abs(self.share(found)) <= self.share_allowed and _mean(found) <= self.allowed

    def surely_nearer(self, point: Sequence[float], one: Sequence[float], other: Sequence[float]) -> bool:
        """Whether an effect is nearer to `one` than to `other`, by more than noise can make it.

        By squared distances. With v the variance of noise on a token and d what `one` and `other` differ by, their
        difference has a variance of 4·d²·v, and 3·v² more where d is itself nothing but noise.
        """
        nearer = margin = 0.0
        for here, a, b, effect in zip(point, one, other, self.effect, strict=True):
            noise = self.tolerance.variance(effect)
            nearer += (b - here) ** 2 - (a - here) ** 2
            margin += noise * (3 * noise + 4 * (a - b) ** 2)
        return nearer > CERTAIN * math.sqrt(margin)


def recorded_scores(probes: Probes, variant: Variant) -> Scores:
    """What was recorded when the adapter was published. Raises KeyError where this variant was not."""
    scores = [probe.scores[variant] for probe in probes.probes]
    return Scores(
        base=[value for item in scores for value in item.base],
        adapter=[value for item in scores for value in item.adapter],
    )


def judge(probes: int, recorded: Scores, measured: Measured, tolerance: Tolerance) -> Judgement:
    """By which of the known effects the adapter's effect here is: the recorded one, none, another adapter's."""
    yardstick = Yardstick(recorded.effect, tolerance)
    found = _effect(measured.own, measured.base)
    others = {name: _effect(scores, measured.base) for name, scores in measured.others.items()}
    engine_base = _distance(measured.base, recorded.base)
    numbers = _numbers(probes, yardstick, found, others, engine_base)
    if not tolerance.distinguishes(yardstick.effect):
        message = f"recorded scores differ from the base's by {numbers.separation:.3f} per token, too little to see"
        return Judgement(Verdict.INDISTINGUISHABLE, Reason.TOO_CLOSE, message, numbers)
    if engine_base > yardstick.allowed:
        message = f"without an adapter the engine scores {engine_base:.3f} per token off the recorded base"
        return Judgement(Verdict.DIVERGED, Reason.BASE_SCORES_UNKNOWN, message, numbers)
    return _nearest(yardstick, found, others, numbers)


def judge_decode(judgement: Judgement, decoded: Decoded, tolerance: Tolerance) -> Judgement:
    """Add what generating showed.

    An adapter that is applied in prefill and lost in decode generates as the base, and scores as the base. One that
    the engine mixes up with others in a batch, or through its cache, scores well only while it is alone.
    """
    numbers = judgement.numbers
    if numbers is None or judgement.verdict is not Verdict.APPLIED:
        return judgement
    if not (decoded.alone and decoded.among and decoded.after):
        message = "nothing generated is read back by the engine as the same tokens"
        return Judgement(Verdict.DIVERGED, Reason.TOKENS_DIFFER, message, numbers)
    together = [pair for pairs in decoded.after for pair in pairs]  # many a little, or one much
    alone, among, *after = (
        _Off.of(pairs, tolerance) for pairs in (decoded.alone, decoded.among, together, *decoded.after)
    )
    mixed = max(among, *after, key=lambda off: off.distance - off.allowed)
    numbers = numbers.model_copy(update={"decode": _rounded(alone.distance), "mixed": _rounded(mixed.distance)})
    if alone.too_far:
        message = f"scores while generating are {alone.distance:.3f} per token off those in one prefill"
        return Judgement(Verdict.NOT_APPLIED, Reason.LOST_IN_DECODE, message, numbers)
    if mixed.too_far:
        where = "among others' answers" if mixed is among else "to texts that others have read before"
        message = f"{where} its own is {mixed.distance:.3f} per token off, alone {alone.distance:.3f}"
        return Judgement(Verdict.DIVERGED, Reason.ANSWERS_MIXED, message, numbers)
    return Judgement(Verdict.APPLIED, judgement.reason, judgement.message, numbers)


@dataclass(frozen=True)
class _Off:
    """What generated tokens' scores are off those in one prefill, and may be (nats per token, mean)."""

    distance: float
    allowed: float

    @classmethod
    def of(cls, pairs: Pairs, tolerance: Tolerance) -> Self:
        return cls(_distance(*zip(*pairs, strict=True)), tolerance.allowed_in_decode(len(pairs)))

    @property
    def too_far(self) -> bool:
        return self.distance > self.allowed


def _numbers(
    probes: int,
    yardstick: Yardstick,
    found: Sequence[float],
    others: Mapping[str, Sequence[float]],
    engine_base: float,
) -> ProofNumbers:
    distances = {name: _distance(effect, yardstick.effect) for name, effect in others.items()}
    nearest = min(distances, key=distances.__getitem__, default=None)
    provable = math.isfinite(yardstick.share_allowed)
    return ProofNumbers(
        probes=probes,
        tokens=len(found),
        separation=_rounded(yardstick.separation),
        allowed=_rounded(yardstick.allowed),
        own=_rounded(_distance(found, yardstick.effect)),
        base=_rounded(_mean(found)),
        engine_base=_rounded(engine_base),
        share=_rounded(yardstick.share(found)) if provable else None,
        share_allowed=_rounded(yardstick.share_allowed) if provable else None,
        nearest_other=nearest,
        other=None if nearest is None else _rounded(distances[nearest]),
    )


def _nearest(
    yardstick: Yardstick, found: Sequence[float], others: Mapping[str, Sequence[float]], numbers: ProofNumbers
) -> Judgement:
    """What the adapter's effect here is like, once it is known that a difference could be seen."""
    as_recorded = sorted(name for name, effect in others.items() if yardstick.is_all(effect))
    for name in as_recorded:
        if yardstick.surely_nearer(yardstick.effect, others[name], found):
            return _wrong(f"the adapter's effect is found under the name of {name}", numbers)
    if yardstick.is_all(found):
        alike = [name for name in as_recorded if not yardstick.surely_nearer(yardstick.effect, found, others[name])]
        return _applied(alike, numbers)
    if yardstick.is_none(found):
        message = "the engine answers as if no adapter were there"
        return Judgement(Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE, message, numbers)
    for name, effect in others.items():
        twin = _distance(effect, found) <= yardstick.allowed
        if twin and yardstick.surely_nearer(found, effect, yardstick.effect):
            return _wrong(f"the engine answers as {name}", numbers)
    message = (
        f"{numbers.share:.0%} of the recorded effect is found, ± {numbers.share_allowed:.0%} for the engine's noise; "
        f"it is {numbers.own:.3f} per token off, where {numbers.allowed:.3f} is allowed"
    )
    return Judgement(Verdict.DIVERGED, Reason.SCORES_UNKNOWN, message, numbers)


def _applied(alike: Sequence[str], numbers: ProofNumbers) -> Judgement:
    """An adapter that was trained again on the same data is like the one before, and must be servable all the same."""
    if not alike:
        return Judgement(Verdict.APPLIED, Reason.PROVED, "", numbers)
    message = f"it and {', '.join(alike)} answer alike: which of them answers cannot be told"
    return Judgement(Verdict.APPLIED, Reason.PROVED, message, numbers.model_copy(update={"alike": list(alike)}))


def _wrong(message: str, numbers: ProofNumbers) -> Judgement:
    return Judgement(Verdict.WRONG_ADAPTER, Reason.ANSWERS_AS_OTHER, message, numbers)


def _effect(scores: Sequence[float], base: Sequence[float]) -> list[float]:
    return [score - without for score, without in zip(scores, base, strict=True)]


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    return _mean(_effect(one, other))


def _mean(effect: Sequence[float]) -> float:
    """Of absolute values."""
    return sum(map(abs, effect)) / max(len(effect), 1)


def _rounded(value: float) -> float:
    return round(value, 5)
