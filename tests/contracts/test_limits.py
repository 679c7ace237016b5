"""Orders and results can be read back as they are written, and fit where they are put."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support import results

from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.base import Variant
from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.exits import TERMINATION_MESSAGE_LIMIT, ExitCode, Reason
from wardrobe_contracts.gate import Against, Judgement, Metric, Outcome, Verdict
from wardrobe_contracts.inspection import MOST_SIZE, PRELUDE_LIMIT, TOKEN_LIMIT, InspectConfig
from wardrobe_contracts.manifest import Comparison, Evaluation, IncumbentScores, Interval, NotAssessed, Score
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.result import Failed, Result
from wardrobe_contracts.tracking import Tracked, TrackingFault, TrackingReason
from wardrobe_contracts.training import Reached, TrainConfig

WITHOUT_NULLS = (InspectConfig, CheckConfig, TrainConfig, AssessConfig, Result)


def required_but_nullable(schema: dict[str, Any]) -> Iterator[str]:
    for title, model in {schema["title"]: schema, **schema.get("$defs", {})}.items():
        for name in model.get("required", []):
            if {"type": "null"} in model["properties"][name].get("anyOf", []):
                yield f"{title}.{name}"


def test_what_may_be_null_may_be_left_out() -> None:
    """Orders and results are written without nulls: a field that may be null but not absent could not be read back."""
    assert [name for model in WITHOUT_NULLS for name in required_but_nullable(model.model_json_schema())] == []


def test_an_inspection_fits_the_termination_message_whatever_the_model_says() -> None:
    tokenizer = results.INSPECTION.tokenizer.model_copy(
        update={
            "eos_token": "\0" * TOKEN_LIMIT,
            "pad_token": "\1" * TOKEN_LIMIT,
            "chat_template_prelude": '"' * PRELUDE_LIMIT,
            "chat_template_date": date(2026, 11, 30),
        }
    )
    sizes = dict.fromkeys((name for name, value in results.SHAPE if type(value) is int), MOST_SIZE)
    found = results.INSPECTION.model_copy(
        update={"tokenizer": tokenizer, "shape": results.SHAPE.model_copy(update=sizes)}
    )
    said = Result.success("done", found).termination_message()
    assert Result.model_validate_json(said).payload == found


def test_a_result_fits_the_termination_message_at_the_largest_that_the_crd_allows() -> None:
    largest = results.ASSESSMENT.model_copy(
        update={"target_modules": ["m" * 128] * 64, "indistinguishable": list(Variant)}
    )
    result = Result.success("done", largest)
    said = result.termination_message()
    assert len(said.encode()) <= TERMINATION_MESSAGE_LIMIT
    read = Result.model_validate_json(said).payload
    assert isinstance(read, Assessment)
    assert read.evaluations == largest.evaluations
    assert read.digest == largest.digest


def test_a_judged_assessment_fits_and_loses_no_verdict() -> None:
    """With as many incumbents as departments can name, losses beyond reason and every rule failed for long reasons."""
    wide = Interval(low=-999999.9999, high=999999.9999)
    score = Score(loss=999999.9999, perplexity=1e26, tokens=10**12)
    part = Comparison(base=score, candidate=score, difference=wide)
    incumbents = [
        IncumbentScores(
            name=f"{'c' * 40}-v{number}",
            digest=results.digest("7"),
            whole=score,
            body=score,
            whole_difference=wide,
            body_difference=wide,
        )
        for number in range(999_936, 1_000_000)
    ]
    evaluations = [
        Evaluation(variant=variant, whole=part, body=part, incumbents=incumbents) for variant in list(Variant)[:2]
    ]
    judged = Judgement(
        metric=Metric.BODY_PERPLEXITY,
        against=Against.INCUMBENT,
        max_regression=0.1234,
        outcome=Outcome.FAILED,
        variant=Variant.INT8,
        adapter=incumbents[0].name,
        reference=999999.9999,
        candidate=999999.9999,
        regression=-999999.999999,
        low=-999999.999999,
        high=999999.999999,
    )
    unknown = judged.model_copy(update={**dict.fromkeys(NUMBERS), "message": "\0" * 5000})
    lost = [
        NotAssessed(variant=variant, reason=Reason.OUT_OF_MEMORY, message="m" * 5000, needed_bytes=10**14)
        for variant in list(Variant)[2:]
    ]
    largest = results.ASSESSMENT.model_copy(
        update={
            "target_modules": ["m" * 128] * 64,
            "evaluations": evaluations,
            "not_assessed": lost,
            "verdict": Verdict.REJECTED,
            "gate": [judged, judged, judged, unknown],
            "evaluated_rows": 10**6,
            "indistinguishable": list(Variant),
        }
    )
    fault = TrackingFault(reason=TrackingReason.UNREACHABLE, message="\0" * 5000)
    tracked = Tracked(run_id="a" * 32, experiment_id="9" * 18, fault=fault)
    result = Result.success("done", largest).model_copy(update={"tracked": tracked})
    said = result.termination_message()
    assert len(said.encode()) <= TERMINATION_MESSAGE_LIMIT
    told = Result.model_validate_json(said)
    assert told.tracked
    assert (told.tracked.run_id, told.tracked.fault and told.tracked.fault.reason) == ("a" * 32, fault.reason)
    read = told.payload
    assert isinstance(read, Assessment)
    assert read.verdict is Verdict.REJECTED
    assert read.gate[:3] == [judged] * 3
    assert [found.whole for found in read.evaluations] == [part] * 2
    again = Result.success("done", read).termination_message()
    assert Result.model_validate_json(again).payload == read, "the record holds what the Adapter was made from"


NUMBERS = ("reference", "candidate", "regression", "low", "high")
texts = st.text() | st.builds(lambda text, times: text * times, st.text(min_size=1), st.integers(1, 5000))
RECORD_LIMIT = 1500
"""Of what was lost to the infrastructure, as the operator keeps it."""


problems = st.none() | st.builds(Problem, field=texts, value=texts, rule=texts, next_step=texts)
faults = st.none() | st.builds(TrackingFault, reason=st.sampled_from(TrackingReason), message=texts)


@given(texts, problems, st.lists(texts), faults)
def test_a_failure_fits_whatever_was_said(
    message: str, problem: Problem | None, lines: list[str], fault: TrackingFault | None
) -> None:
    """In another language, control characters or emojis: a result that fits nowhere would stop the run for ever."""
    failed = Result.failure("train", ExitCode.COMMUNICATION, Reason.PEERS_LOST, message, problem)
    result = failed.having(Reached(step=10**9, resumed=10**9, saved=10**9, step_seconds=0.001, save_seconds=0.001))
    tracked = Tracked(run_id="a" * 32, experiment_id="9" * 18, fault=fault)
    result = result.model_copy(update={"tracked": tracked})
    for limit in (TERMINATION_MESSAGE_LIMIT, RECORD_LIMIT):
        text = result.of_rank(1023, lines).termination_message(limit)
        assert len(text.encode()) <= limit
        assert Result.model_validate_json(text).exit_code is ExitCode.COMMUNICATION


def test_of_a_ranks_lines_the_last_are_kept() -> None:
    lines = [f"{'x' * 90} {number}" for number in range(20)]
    result = Result.failure("train", ExitCode.UNKNOWN, Reason.UNKNOWN, "it is known where").of_rank(3, lines)
    kept = Result.model_validate_json(result.termination_message()).outcome
    assert isinstance(kept, Failed)
    assert (kept.rank, kept.lines) == (3, lines[-7:])
    lost = Result.model_validate_json(result.termination_message(RECORD_LIMIT)).outcome
    assert isinstance(lost, Failed)
    assert lost.lines == lines[-7:]
