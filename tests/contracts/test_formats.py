"""What parts of two releases tell each other is read: committed samples of every format, and what a later one may add.

`contracts/samples/<kind>/<format>-<name>.json`. Those of format 0 were written by First light's own code. A sample is
never changed: a new field brings a new sample.
"""

import copy
import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.samples import lacks

import wardrobe_contracts
from wardrobe_contracts import base
from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Exchanged, Order
from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.engine_process import Hung, ProcessOrder, ProcessState
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.imports import ImportConfig
from wardrobe_contracts.inspection import InspectConfig
from wardrobe_contracts.release import ReleaseConfig
from wardrobe_contracts.result import Failed, Result
from wardrobe_contracts.routes import FORMAT_0_KEY, ROUTES_KEY, Routes, in_config_map, to_config_map
from wardrobe_contracts.state import AgentState, RouterState, Verdict
from wardrobe_contracts.training import LoraMethod, Progress, QloraMethod, TrainConfig
from wardrobe_contracts.verification import VerifyConfig

KINDS: dict[str, type[Exchanged]] = {
    "routes": Routes,
    "agent-state": AgentState,
    "router-state": RouterState,
    "result": Result,
    "progress": Progress,
    "inspect-order": InspectConfig,
    "check-order": CheckConfig,
    "import-order": ImportConfig,
    "train-order": TrainConfig,
    "assess-order": AssessConfig,
    "release-order": ReleaseConfig,
    "verify-order": VerifyConfig,
    "process-order": ProcessOrder,
    "process-state": ProcessState,
    "hung": Hung,
}
FIRST = {"import-order": 1, "release-order": 1, "verify-order": 1, "process-order": 1, "process-state": 1, "hung": 1}
"""Formats that kinds began with, which First light did not have."""
SAMPLES = sorted((Path(base.__file__).parents[2] / "samples").rglob("*.json"))
MAPS = {"departments", "versions", "keys", "packages", "rules", "variables", "environment", "parameters", "tags"}
"""Fields whose names are data: a name more is another value there."""


def kind(sample: Path) -> type[Exchanged]:
    return KINDS[sample.parent.name]


def read(sample: Path) -> Exchanged:
    return kind(sample).model_validate_json(sample.read_text())


def written(value: Exchanged) -> Any:
    """As its writers do: states and progress with nulls."""
    reports = isinstance(value, AgentState | RouterState | Progress)
    return json.loads(value.model_dump_json(by_alias=True, exclude_none=not reports))


def of_format(number: int) -> list[Any]:
    return [
        pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in SAMPLES if named_format(path) == number
    ]


def named_format(path: Path) -> int:
    return int(path.name.partition("-")[0])


def objects(value: Any, field: str = "") -> Iterator[dict[str, Any]]:
    """Every object of a JSON text whose names are fields."""
    if isinstance(value, dict):
        if field not in MAPS:
            yield value
        for name, inner in value.items():
            yield from objects(inner, "" if field in MAPS else name)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def concrete(kind: type[Exchanged]) -> Iterator[type[Exchanged]]:
    """What is exchanged: what nothing is derived from."""
    derived = kind.__subclasses__()
    yield from [found for one in derived for found in concrete(one)] or [kind]


def test_whatever_is_exchanged_has_samples() -> None:
    for module in pkgutil.walk_packages(wardrobe_contracts.__path__, "wardrobe_contracts."):
        importlib.import_module(module.name)
    assert {found.__qualname__ for found in concrete(Exchanged)} == {found.__qualname__ for found in KINDS.values()}


def test_every_kind_has_samples_of_every_format() -> None:
    for name, model in KINDS.items():
        formats = {named_format(path) for path in SAMPLES if path.parent.name == name}
        assert formats == set(range(FIRST.get(name, 0), model.model_fields["format"].default + 1)), name


@pytest.mark.parametrize("sample", of_format(0))
def test_what_first_light_wrote_is_read(sample: Path) -> None:
    assert read(sample) == read(sample.with_name(sample.name.replace("0-", "1-", 1)))


def newest(sample: Path) -> int:
    return int(kind(sample).model_fields["format"].default)


OF_NUMBERED = [*of_format(1), *of_format(2), *of_format(3), *of_format(4)]
TODAYS = [found for found in OF_NUMBERED if named_format(found.values[0]) == newest(found.values[0])]


@pytest.mark.parametrize("sample", OF_NUMBERED)
def test_what_is_written_today_has_all_that_its_format_had(sample: Path) -> None:
    before = json.loads(sample.read_text()) | {"format": newest(sample)}
    assert lacks(written(read(sample)), before) == []
    assert kind(sample).model_validate_json(json.dumps(written(read(sample))), extra="forbid") == read(sample)


@pytest.mark.parametrize("sample", [path for path in of_format(0) if path.values[0].parent.name == "routes"])
def test_the_routes_for_first_light_are_what_first_light_wrote(sample: Path) -> None:
    """Its routers and agents refuse a field that they do not know, and would stay on the routes they have."""
    routes = Routes.model_validate_json(sample.read_text())
    assert json.loads(to_config_map(routes)[FORMAT_0_KEY]) == json.loads(sample.read_text())


def test_readers_of_routes_take_the_newest_that_they_know() -> None:
    assert in_config_map({FORMAT_0_KEY: "old", ROUTES_KEY: "new", "routes-2.json": "newer"}) == "new"
    assert in_config_map({FORMAT_0_KEY: "old"}) == "old"
    assert in_config_map({}) is None


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_a_field_that_a_reader_does_not_know_changes_nothing(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(SAMPLES))
    changed = json.loads(sample.read_text())
    place = data.draw(st.sampled_from(list(objects(changed))))
    place["later" + data.draw(st.text(max_size=9))] = data.draw(ANY_JSON)
    assert kind(sample).model_validate_json(json.dumps(changed)) == read(sample)


def of_newer_format(sample: Path, **changes: Any) -> str:
    return json.dumps(json.loads(sample.read_text()) | {"format": newest(sample) + 1, "later": 1, **changes})


@pytest.mark.parametrize("sample", TODAYS)
def test_a_newer_format(sample: Path) -> None:
    """What reports is read as far as it is understood; what must be done is refused, with both numbers."""
    model = kind(sample)
    if issubclass(model, Order):
        today = newest(sample)
        with pytest.raises(ValidationError, match=rf"format is {today + 1}: .* up to {today} .* Run all parts"):
            model.model_validate_json(of_newer_format(sample))
    else:
        assert model.model_validate_json(of_newer_format(sample)) == read(sample)


@pytest.mark.parametrize("sample", of_format(1))
@pytest.mark.parametrize("strange", [None, "2", -1, 1.5, True, [], {}])
def test_a_format_that_is_no_number(sample: Path, strange: Any) -> None:
    with pytest.raises(ValidationError, match="must be a whole number"):
        kind(sample).model_validate_json(of_newer_format(sample, format=strange))


def test_a_newer_format_that_is_not_understood() -> None:
    sample = next(path for path in SAMPLES if path.parent.name == "routes" and named_format(path) == 1)
    with pytest.raises(ValidationError, match=r"format is 2: .* up to 1 \(adapters: .*\)"):
        Routes.model_validate_json(of_newer_format(sample, adapters={"by": "name"}))


def sample(name: str) -> Any:
    return json.loads(next(path for path in SAMPLES if path.match(name)).read_text())


def test_an_agents_words_of_a_later_release_are_no_verdict() -> None:
    """One word that is not known must not hide what else the agent serves."""
    said = sample("agent-state/1-proved-and-waiting.json")
    said["versions"]["cardiology-v1-11111111"] |= {"verdict": "Applied", "reason": "ProvedBySampling", "served": True}
    state = AgentState.model_validate_json(json.dumps(said))
    strange = state.adapters["cardiology-v1-11111111"]
    assert (strange.verdict, strange.served) == (Verdict.PENDING, True)
    assert strange.message.startswith("Applied, ProvedBySampling: not known to this release of Wardrobe")
    assert state.serves("cardiology-v2-22222222")


@pytest.mark.parametrize("strange", [{"exitCode": 79}, {"exitCode": 0}, {"exitCode": []}])
def test_a_tasks_words_of_a_later_release_are_unknown(strange: dict[str, Any]) -> None:
    said = sample("result/1-check-failed.json")
    said["outcome"] |= {"reason": "LicenceRefused", **strange}
    result = Result.model_validate_json(json.dumps(said))
    assert (result.exit_code, result.reason, result.succeeded) == (ExitCode.UNKNOWN, Reason.UNKNOWN, False)
    assert result.message == said["outcome"]["message"]


def test_a_success_of_format_0_without_what_was_made_is_none() -> None:
    said = copy.deepcopy(sample("result/0-train-done.json"))
    del said["training"]
    result = Result.model_validate_json(json.dumps(said))
    assert isinstance(result.outcome, Failed)
    assert result.exit_code is ExitCode.UNKNOWN


def test_a_result_is_of_one_task() -> None:
    said = sample("result/1-train-done.json") | {"task": "check"}
    with pytest.raises(ValidationError, match="a result of check has the payload of train"):
        Result.model_validate_json(json.dumps(said))


def test_a_method_brings_its_own_settings() -> None:
    order = sample("train-order/1-qlora.json")
    assert isinstance(TrainConfig.model_validate_json(json.dumps(order)).method, QloraMethod)
    order["method"]["name"] = "LoRA"
    assert isinstance(TrainConfig.model_validate_json(json.dumps(order)).method, LoraMethod)
    del order["method"]["quantization"]
    order["method"]["name"] = "QLoRA"
    with pytest.raises(ValidationError, match=r"method.QLoRA.quantization"):
        TrainConfig.model_validate_json(json.dumps(order))
