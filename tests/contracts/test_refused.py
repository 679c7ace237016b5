"""What the contracts refuse: numbers that are none, and parts that do not fit each other."""

import json
from typing import Any

import pytest
from pydantic import ValidationError
from support import results

from wardrobe_contracts.base import Variant
from wardrobe_contracts.probes import MOST_PROBES, Probes
from wardrobe_contracts.result import Result
from wardrobe_contracts.training import Progress, Schedule

NO_NUMBERS = ("1e999", "-1e999", "NaN", "Infinity", "-Infinity")


def probe(**changes: Any) -> dict[str, Any]:
    scores = {"base": [-1.0, -2.0], "adapter": [-0.5, 0.00001]}
    known = {"prompt": "p", "promptTokens": 3, "completion": "c", "completionTokens": 2}
    ids = {"promptIds": [7, 8, 9], "completionIds": [1, 2]}
    return known | ids | {"scores": {"None": scores, "NF4": scores}} | changes


def read(*probes: dict[str, Any]) -> Probes:
    file = {"adapterDigest": results.digest("a"), "baseDigest": results.digest("b"), "seed": 1, "probes": probes}
    return Probes.model_validate_json(json.dumps(file))


def test_probes_that_agree() -> None:
    old = {"promptIds": None, "completionIds": None}
    assert [len(found.scores[Variant.NF4].base) for found in read(probe(), probe(**old)).probes] == [2, 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": {"None": {"base": [-1.0], "adapter": [-1.0, -2.0]}}},
        {"scores": {"None": {"base": [-1.0], "adapter": [-1.0]}}},
        {"scores": {"None": {"base": [], "adapter": []}}},
        {"scores": {"None": {"base": [-1.0, None], "adapter": [-1.0, -2.0]}}},
        {"scores": {"None": {"base": [-1.0, -1e308], "adapter": [-1.0, -2.0]}}},
        {"scores": {"None": {"base": [-1.0, 5.0], "adapter": [-1.0, -2.0]}}},
        {"completionTokens": 3},
        {"completionIds": [1]},
        {"completionIds": [1, -2]},
        {"promptTokens": 2},
        {"promptIds": [7, 8, 9, 10]},
    ],
)
def test_a_probe_whose_parts_do_not_agree(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read(probe(**changes))


def test_every_probe_has_the_same_variants() -> None:
    with pytest.raises(ValidationError, match="the same variants"):
        read(probe(), probe(scores={"None": {"base": [-1.0, -2.0], "adapter": [-0.5, -0.5]}}))


def test_a_file_has_so_many_probes_at_most() -> None:
    assert len(read(*[probe()] * MOST_PROBES).probes) == MOST_PROBES
    with pytest.raises(ValidationError):
        read(*[probe()] * (MOST_PROBES + 1))


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_no_contract_takes_a_number_that_is_none(number: str) -> None:
    progress = '{"stage": "Training", "loss": NUMBER}'
    schedule = (
        '{"epochs": NUMBER, "learningRate": 1, "batchSize": 1, "microBatchSize": 1, "sequenceLength": 1, "seed": 1}'
    )
    scores = json.dumps(probe()).replace("-2.0", "NUMBER")
    probes = f'{{"adapterDigest": "{results.digest("a")}", "baseDigest": "{results.digest("b")}", "seed": 1, '
    probes += f'"probes": [{scores}]}}'
    result = results.success("train").model_dump_json(by_alias=True).replace('"lastLoss":2.4', '"lastLoss":NUMBER')
    assert "NUMBER" in result
    for model, text in ((Progress, progress), (Schedule, schedule), (Probes, probes), (Result, result)):
        model.model_validate_json(text.replace("NUMBER", "0.5"))  # it is the number that is refused
        with pytest.raises(ValidationError, match="finite number"):
            model.model_validate_json(text.replace("NUMBER", number))
