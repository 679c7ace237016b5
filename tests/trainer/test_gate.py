"""The gate's decision, from scores alone."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardrobe_contracts.assessment import Incumbent
from wardrobe_contracts.base import Variant
from wardrobe_contracts.gate import Against, GateRule, Judgement, Metric, Outcome, Verdict
from wardrobe_contracts.manifest import Comparison, Evaluation, IncumbentScores, Interval, Score
from wardrobe_trainer.gate import judge, verdict, worst

V1 = Incumbent(name="cardiology-v1", digest="sha256:" + "1" * 64)
V2 = Incumbent(name="cardiology-v2", digest="sha256:" + "2" * 64)


def score(loss: float) -> Score:
    return Score.of(loss * 10_000, 10_000)


def evaluation(
    base: float, candidate: float, *incumbents: tuple[Incumbent, float], variant: Variant = Variant.NF4
) -> Evaluation:
    """Bodies lose half a nat more than whole answers, of everybody."""
    near = Interval(low=-0.01, high=0.02)
    return Evaluation(
        variant=variant,
        whole=Comparison(base=score(base), candidate=score(candidate), difference=near),
        body=Comparison(base=score(base + 0.5), candidate=score(candidate + 0.5), difference=near),
        incumbents=[
            IncumbentScores(
                name=one.name,
                digest=one.digest,
                whole=score(loss),
                body=score(loss + 0.5),
                whole_difference=near,
                body_difference=near,
            )
            for one, loss in incumbents
        ],
    )


def rule(metric: str = "Loss", against: str = "Base", most: float = 0.0) -> GateRule:
    return GateRule(metric=Metric(metric), against=Against(against), max_regression=most)


def judged(
    rules: Sequence[GateRule], *evaluations: Evaluation, incumbents: Sequence[Incumbent] = (V1,)
) -> list[Judgement]:
    return judge(rules, evaluations, incumbents, {})


@pytest.mark.parametrize(
    ("asked", "base", "candidate", "outcome"),
    [
        (rule(), 2.0, 1.5, Outcome.PASSED),
        (rule(), 2.0, 2.0, Outcome.PASSED),
        (rule(), 2.0, 2.0001, Outcome.FAILED),
        (rule(most=0.02), 2.0, 2.04, Outcome.PASSED),
        (rule(most=0.02), 2.0, 2.0401, Outcome.FAILED),
        (rule("BodyLoss", most=0.02), 2.0, 2.05, Outcome.PASSED),
        (rule("BodyLoss", most=0.02), 2.0, 2.0501, Outcome.FAILED),
        (rule("Perplexity", most=0.02), 2.0, 2.0198, Outcome.PASSED),
        (rule("Perplexity", most=0.02), 2.0, 2.0199, Outcome.FAILED),
        (rule("BodyPerplexity", most=0.02), 2.0, 2.0199, Outcome.FAILED),
        (rule(most=0.5), 0.0, 0.0, Outcome.PASSED),
        (rule(most=0.5), 0.0, 0.0001, Outcome.FAILED),
    ],
)
def test_against_the_base(asked: GateRule, base: float, candidate: float, outcome: Outcome) -> None:
    [found] = judged([asked], evaluation(base, candidate))
    assert (found.outcome, found.variant, found.adapter) == (outcome, Variant.NF4, None)


def test_the_numbers_of_a_judgement() -> None:
    [found] = judged([rule("Loss", "Incumbent", 0.02)], evaluation(4.0, 2.1, (V1, 2.0)))
    assert (found.reference, found.candidate, found.regression) == (2.0, 2.1, 0.05)
    assert (found.low, found.high) == (-0.005, 0.01)
    [found] = judged([rule("Perplexity", "Incumbent", 0.02)], evaluation(4.0, 2.1, (V1, 2.0)))
    assert (found.reference, found.candidate) == (round(math.exp(2.0), 4), round(math.exp(2.1), 4))
    assert found.regression == pytest.approx(math.exp(0.1) - 1, abs=1e-6)


def test_without_an_incumbent_its_rule_does_not_apply() -> None:
    found = judged([rule("Loss", "Incumbent")], evaluation(2.0, 3.0), incumbents=[])
    assert [one.outcome for one in found] == [Outcome.NOT_APPLICABLE]
    assert verdict(found) is Verdict.ACCEPTED


def test_each_of_several_incumbents_counts() -> None:
    found = judged([rule("Loss", "Incumbent")], evaluation(4.0, 2.2, (V1, 2.5), (V2, 2.0)), incumbents=[V1, V2])
    assert [(one.adapter, one.outcome) for one in found] == [(V1.name, Outcome.PASSED), (V2.name, Outcome.FAILED)]
    assert verdict(found) is Verdict.REJECTED
    [told] = worst([rule("Loss", "Incumbent")], found)
    assert told.adapter == V2.name


def test_each_variant_counts() -> None:
    worse = evaluation(2.0, 2.5, variant=Variant.INT8)
    found = judged([rule()], evaluation(2.0, 1.0), worse)
    assert [(one.variant, one.outcome) for one in found] == [
        (Variant.NF4, Outcome.PASSED),
        (Variant.INT8, Outcome.FAILED),
    ]
    assert verdict(found) is Verdict.REJECTED


def test_an_incumbent_that_could_not_be_measured_fails_the_rule() -> None:
    lost = {V2.digest: "cardiology-v2 cannot be measured: manifest.json is missing"}
    asked = [rule("Loss", "Incumbent", 0.5), rule()]
    found = judge(asked, [evaluation(4.0, 2.0, (V1, 2.0))], [V1, V2], lost)
    assert verdict(found) is Verdict.REJECTED
    told = worst(asked, found)
    assert [(one.outcome, one.adapter) for one in told] == [(Outcome.FAILED, V2.name), (Outcome.PASSED, None)]
    assert told[0].message == lost[V2.digest]


def test_without_a_gate_there_is_no_verdict() -> None:
    assert verdict(judged([], evaluation(2.0, 9.0))) is None


LOSSES = st.integers(1, 80_000).map(lambda found: found / 10_000)


@given(reference=LOSSES, candidate=LOSSES, metric=st.sampled_from(Metric))
def test_a_candidate_that_is_no_worse_passes_any_gate_and_a_worse_one_fails_the_strictest(
    reference: float, candidate: float, metric: Metric
) -> None:
    [found] = judged([rule(metric)], evaluation(reference, candidate))
    assert (found.outcome is Outcome.PASSED) == (candidate <= reference)
