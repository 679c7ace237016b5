"""The JSON Schemas in contracts/schemas are those of the models, and say what was left behind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import results

from wardrobe_contracts import schemas
from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Variant
from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.exits import TERMINATION_MESSAGE_LIMIT
from wardrobe_contracts.inspection import InspectConfig
from wardrobe_contracts.result import Result
from wardrobe_contracts.training import TrainConfig

WITHOUT_NULLS = (InspectConfig, CheckConfig, TrainConfig, AssessConfig, Result)
FOLDER = Path(schemas.__file__).parents[2] / "schemas"


def test_committed_schemas_are_current() -> None:
    assert schemas.stale(FOLDER) == [], "run `make schemas`"


def test_missing_changed_and_orphaned_files_are_stale(tmp_path: Path) -> None:
    for name, text in schemas.render().items():
        (tmp_path / name).write_text(text)
    assert schemas.stale(tmp_path) == []
    (tmp_path / "Manifest.json").unlink()
    (tmp_path / "Probes.json").write_text("{}")
    (tmp_path / "Forgotten.json").write_text("{}")
    assert schemas.stale(tmp_path) == ["Forgotten.json", "Manifest.json", "Probes.json"]


def required_but_nullable(schema: dict[str, Any]) -> Iterator[str]:
    for title, model in {schema["title"]: schema, **schema.get("$defs", {})}.items():
        for name in model.get("required", []):
            if {"type": "null"} in model["properties"][name].get("anyOf", []):
                yield f"{title}.{name}"


def test_what_may_be_null_may_be_left_out() -> None:
    """Orders and results are written without nulls: a field that may be null but not absent could not be read back."""
    assert [name for model in WITHOUT_NULLS for name in required_but_nullable(model.model_json_schema())] == []


def test_a_result_fits_the_termination_message_at_the_largest_that_the_crd_allows() -> None:
    largest = results.ASSESSMENT.model_copy(
        update={"target_modules": ["m" * 128] * 64, "indistinguishable": list(Variant)}
    )
    result = results.success("assess").model_copy(update={"assessment": largest})
    said = result.termination_message()
    assert len(said.encode()) <= TERMINATION_MESSAGE_LIMIT
    read = Result.model_validate_json(said).assessment
    assert read is not None
    assert read.evaluations == largest.evaluations
    assert read.digest == largest.digest
