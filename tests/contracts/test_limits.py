"""Orders and results can be read back as they are written, and fit where they are put."""

from collections.abc import Iterator
from typing import Any

from support import results

from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.base import Variant
from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.exits import TERMINATION_MESSAGE_LIMIT
from wardrobe_contracts.inspection import MOST_SIZE, TOKEN_LIMIT, InspectConfig
from wardrobe_contracts.result import Result
from wardrobe_contracts.training import TrainConfig

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
