"""Orders and results can be read back as they are written, and fit where they are put."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support import results

from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.base import Variant
from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.exits import TERMINATION_MESSAGE_LIMIT, ExitCode, Reason
from wardrobe_contracts.inspection import MOST_SIZE, TOKEN_LIMIT, InspectConfig
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.result import Failed, Result
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
        update={"eos_token": "\0" * TOKEN_LIMIT, "pad_token": "\1" * TOKEN_LIMIT}
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


texts = st.text() | st.builds(lambda text, times: text * times, st.text(min_size=1), st.integers(1, 5000))
RECORD_LIMIT = 1500
"""Of what was lost to the infrastructure, as the operator keeps it."""


@given(texts, st.none() | st.builds(Problem, field=texts, value=texts, rule=texts, next_step=texts), st.lists(texts))
def test_a_failure_fits_whatever_was_said(message: str, problem: Problem | None, lines: list[str]) -> None:
    """In another language, control characters or emojis: a result that fits nowhere would stop the run for ever."""
    failed = Result.failure("train", ExitCode.COMMUNICATION, Reason.PEERS_LOST, message, problem)
    result = failed.having(Reached(step=10**9, resumed=10**9, saved=10**9, step_seconds=0.001, save_seconds=0.001))
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
