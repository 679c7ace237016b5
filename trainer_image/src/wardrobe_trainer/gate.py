"""The gate's decision: pure, from scores as they are published, so that anybody can repeat it."""

import math
from collections.abc import Iterator, Mapping, Sequence

from wardrobe_contracts.assessment import Incumbent
from wardrobe_contracts.base import AdapterName, Digest
from wardrobe_contracts.gate import Against, GateRule, Judgement, Metric, Outcome, Verdict
from wardrobe_contracts.manifest import MOST_NATS, Evaluation, Interval, Score

LEAST_LOSS = 1e-4
"""Nats per token: a score has no more decimals. A smaller loss counts as this one where another is held against it."""
_BODY = {Metric.BODY_LOSS, Metric.BODY_PERPLEXITY}
_EXPONENTIAL = {Metric.PERPLEXITY, Metric.BODY_PERPLEXITY}


def judge(
    rules: Sequence[GateRule],
    evaluations: Sequence[Evaluation],
    incumbents: Sequence[Incumbent],
    unmeasured: Mapping[Digest, str],
) -> list[Judgement]:
    """Each rule on each variant, against the base or each incumbent; rule by rule.

    An incumbent that could not be measured, for a reason that `unmeasured` tells by its digest, fails the rule: nobody
    knows that the candidate is no worse.
    """
    return [found for rule in rules for found in _of_rule(rule, evaluations, incumbents, unmeasured)]


def verdict(judgements: Sequence[Judgement]) -> Verdict | None:
    """Of the gate; None where it has no rule."""
    if not judgements:
        return None
    failed = any(found.outcome is Outcome.FAILED for found in judgements)
    return Verdict.REJECTED if failed else Verdict.ACCEPTED


def worst(rules: Sequence[GateRule], judgements: Sequence[Judgement]) -> list[Judgement]:
    """Of each rule the one that fails it by most, or is nearest to it."""
    return [max((found for found in judgements if _is_of(found, rule)), key=_badness) for rule in rules]


def _is_of(found: Judgement, rule: GateRule) -> bool:
    return (found.metric, found.against, found.max_regression) == (rule.metric, rule.against, rule.max_regression)


def _badness(found: Judgement) -> tuple[bool, float]:
    unknown = math.inf if found.outcome is Outcome.FAILED else -math.inf
    return found.outcome is Outcome.FAILED, unknown if found.regression is None else found.regression


def _of_rule(
    rule: GateRule,
    evaluations: Sequence[Evaluation],
    incumbents: Sequence[Incumbent],
    unmeasured: Mapping[Digest, str],
) -> Iterator[Judgement]:
    if rule.against is Against.BASE:
        for found in evaluations:
            part = found.body if rule.metric in _BODY else found.whole
            yield _judged(rule, found, None, part.base, part.difference)
        return
    if not incumbents:
        yield _said(rule, Outcome.NOT_APPLICABLE, "no department names a version of this line")
    for incumbent in incumbents:
        if incumbent.digest in unmeasured:
            yield _said(rule, Outcome.FAILED, unmeasured[incumbent.digest], incumbent.name)
    for found in evaluations:
        for other in found.incumbents:
            body = rule.metric in _BODY
            reference, difference = (
                (other.body, other.body_difference) if body else (other.whole, other.whole_difference)
            )
            yield _judged(rule, found, other.name, reference, difference)


def _said(rule: GateRule, outcome: Outcome, message: str, adapter: AdapterName | None = None) -> Judgement:
    return Judgement(**dict(rule), outcome=outcome, adapter=adapter, message=message)


def _judged(
    rule: GateRule, evaluation: Evaluation, adapter: AdapterName | None, reference: Score, difference: Interval | None
) -> Judgement:
    part = evaluation.body if rule.metric in _BODY else evaluation.whole
    loss = reference.loss
    found = _regression(rule.metric, loss, part.candidate.loss - loss)
    return Judgement(
        **dict(rule),
        outcome=Outcome.FAILED if found > rule.max_regression else Outcome.PASSED,
        variant=evaluation.variant,
        adapter=adapter,
        reference=_value(rule.metric, loss),
        candidate=_value(rule.metric, part.candidate.loss),
        regression=found,
        low=_regression(rule.metric, loss, difference.low) if difference else None,
        high=_regression(rule.metric, loss, difference.high) if difference else None,
    )


def _value(metric: Metric, loss: float) -> float:
    return round(math.exp(min(loss, MOST_NATS)), 4) if metric in _EXPONENTIAL else loss


def _regression(metric: Metric, loss: float, difference: float) -> float:
    """By which share of the reference's metric the candidate's is higher, from the difference of their losses."""
    growth = math.expm1(min(difference, MOST_NATS))
    share = growth if metric in _EXPONENTIAL else difference / max(loss, LEAST_LOSS)
    return round(share, 6)
