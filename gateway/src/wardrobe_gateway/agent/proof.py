"""Which adapter answers, judged by scores. Pure: everything measured comes in, a verdict goes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import Tolerance
from wardrobe_contracts.probes import Probes
from wardrobe_contracts.state import ProofNumbers, Reason, Verdict


@dataclass(frozen=True)
class Scores:
    """Log-probability of every completion token, all probes in a row."""

    base: Sequence[float]
    adapter: Sequence[float]


@dataclass(frozen=True)
class Measured:
    """The same tokens, scored on this replica."""

    base: Sequence[float]
    own: Sequence[float]
    others: Mapping[str, Sequence[float]]
    """Under the department's other loaded adapters."""


@dataclass(frozen=True)
class Judgement:
    """What a proof says."""

    verdict: Verdict
    reason: Reason
    message: str
    numbers: ProofNumbers | None = None


def recorded_scores(probes: Probes, variant: Variant) -> Scores:
    """What was recorded when the adapter was published. Raises KeyError where this variant was not."""
    scores = [probe.scores[variant] for probe in probes.probes]
    return Scores(
        base=[value for item in scores for value in item.base],
        adapter=[value for item in scores for value in item.adapter],
    )


def judge(probes: int, recorded: Scores, measured: Measured, tolerance: Tolerance) -> Judgement:
    """Compare effects (score minus the base's score) with the recorded effect, by which of the known it is nearest to.

    Effects, not scores: what two stacks disagree by on the base is mostly the same under an adapter, and drops out.
    """
    numbers = _numbers(probes, recorded, measured, tolerance)
    verdict, reason, message = _verdict(numbers, measured, tolerance)
    return Judgement(verdict, reason, message, numbers)


def judge_decode(judgement: Judgement, pairs: Sequence[tuple[float, float]]) -> Judgement:
    """Add what generating showed: `pairs` are a token's score while it was generated and in one prefill afterwards.

    An adapter that is applied in prefill and lost in decode generates as the base, and scores as the base.
    """
    numbers = judgement.numbers
    if numbers is None or judgement.verdict is not Verdict.APPLIED:
        return judgement
    if not pairs:
        message = "nothing generated is read back by the engine as the same tokens"
        return Judgement(Verdict.DIVERGED, Reason.TOKENS_DIFFER, message, numbers)
    decode = _mean_difference(*zip(*pairs, strict=True))
    numbers = numbers.model_copy(update={"decode": _rounded(decode)})
    if decode <= numbers.allowed:
        return Judgement(Verdict.APPLIED, Reason.PROVED, "", numbers)
    message = f"scores while generating are {decode:.3f} per token off those in one prefill"
    return Judgement(Verdict.NOT_APPLIED, Reason.LOST_IN_DECODE, message, numbers)


def _numbers(probes: int, recorded: Scores, measured: Measured, tolerance: Tolerance) -> ProofNumbers:
    wanted = _effect(recorded.adapter, recorded.base)
    here = _effect(measured.own, measured.base)
    none = [0.0] * len(wanted)
    separation = _mean_difference(wanted, none)
    others = {
        name: _mean_difference(_effect(scores, measured.base), wanted) for name, scores in measured.others.items()
    }
    nearest = min(others, key=others.__getitem__, default=None)
    return ProofNumbers(
        probes=probes,
        tokens=len(wanted),
        separation=_rounded(separation),
        allowed=_rounded(tolerance.allowed(separation)),
        own=_rounded(_mean_difference(here, wanted)),
        base=_rounded(_mean_difference(here, none)),
        engine_base=_rounded(_mean_difference(measured.base, recorded.base)),
        nearest_other=nearest,
        other=None if nearest is None else _rounded(others[nearest]),
    )


def _verdict(numbers: ProofNumbers, measured: Measured, tolerance: Tolerance) -> tuple[Verdict, Reason, str]:
    if numbers.separation < tolerance.distinguishable:
        message = f"recorded scores differ from the base's by {numbers.separation:.3f} per token, too little to see"
        return Verdict.INDISTINGUISHABLE, Reason.TOO_CLOSE, message
    if numbers.engine_base > numbers.allowed:
        message = f"without an adapter the engine scores {numbers.engine_base:.3f} per token off the recorded base"
        return Verdict.DIVERGED, Reason.BASE_SCORES_UNKNOWN, message
    return _nearest(numbers, measured, tolerance)


def _nearest(numbers: ProofNumbers, measured: Measured, tolerance: Tolerance) -> tuple[Verdict, Reason, str]:
    """What the adapter's effect here is like, once it is known that a difference could be seen."""
    if numbers.other is not None and numbers.other <= numbers.allowed and numbers.own - numbers.other > tolerance.noise:
        message = f"the adapter's effect is found under the name of {numbers.nearest_other}"
        return Verdict.WRONG_ADAPTER, Reason.ANSWERS_AS_OTHER, message
    if numbers.own <= numbers.allowed:
        return Verdict.APPLIED, Reason.PROVED, ""
    if numbers.base <= numbers.allowed:
        return Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE, "the engine answers as if no adapter were there"
    if twin := _twin(measured, numbers.allowed):
        return Verdict.WRONG_ADAPTER, Reason.ANSWERS_AS_OTHER, f"the engine answers as {twin}"
    message = f"the effect is {numbers.own:.3f} per token off the recorded one, and {numbers.base:.3f} off none"
    return Verdict.DIVERGED, Reason.SCORES_UNKNOWN, message


def _twin(measured: Measured, allowed: float) -> str | None:
    """The other adapter that scores as this one does, if there is any."""
    distances = {name: _mean_difference(scores, measured.own) for name, scores in measured.others.items()}
    nearest = min(distances, key=distances.__getitem__, default=None)
    return nearest if nearest is not None and distances[nearest] <= allowed else None


def _effect(scores: Sequence[float], base: Sequence[float]) -> list[float]:
    return [score - without for score, without in zip(scores, base, strict=True)]


def _mean_difference(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / max(len(one), 1)


def _rounded(value: float) -> float:
    return round(value, 5)
