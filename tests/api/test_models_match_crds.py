"""The operator's typed models and the CRDs say the same.

Compared are names of fields, types, what may be left out, enums, defaults and, of specs, every bound. A model may give
a value where the CRD requires one (the parts that two kinds share), never the other way round.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, Field

from wardrobe.api.adapter import USERS_LIMIT, AdapterSpec, AdapterStatus
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec, AdapterDeploymentStatus
from wardrobe.api.basemodel import BaseModelSpec, BaseModelStatus
from wardrobe.api.finetunejob import FineTuneJobSpec, FineTuneJobStatus
from wardrobe_contracts import imports

CRDS = Path(__file__).parents[2] / "crds"
Schema = dict[str, Any]

NUMBER = ("minimum", "maximum")
BOUNDS = {
    "integer": NUMBER,
    "string": ("minLength", "maxLength", "pattern"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
    "boolean": (),
}
SAID_BY_RULES = {
    "finetunejobs": {
        "spec.lora.dropout": {"minLength", "pattern"},
        "spec.training.epochs": {"minLength", "pattern"},
        "spec.training.learningRate": {"minLength", "pattern"},
    }
}
"""Where rules of a CRD say it with messages of their own; the models have the Adapter's patterns."""


def schema_of(plural: str, part: str) -> Schema:
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    found: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def expanded(schema: Schema, definitions: Schema) -> Schema:
    """A model's schema with what it refers to, without null, and with an enum where there is a single value."""
    if "anyOf" in schema:
        (only,) = (option for option in schema["anyOf"] if option.get("type") != "null")
        schema = {**schema, **only}
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].removeprefix("#/$defs/")], **schema}
    return {**schema, "enum": [schema["const"]]} if "const" in schema else schema


def meaning(value: Any) -> Any:
    """A default without what is empty: leaving it out means the same."""
    if isinstance(value, dict):
        return {key: left for key, entry in value.items() if (left := meaning(entry))}
    return value


def default_of(schema: Schema) -> Any:
    """The value that the apiserver fills in, inner defaults included; None where it leaves the field out."""
    if "default" not in schema:
        return None
    value = schema["default"]
    if schema["type"] != "object":
        return value
    inner = {name: default_of(child) for name, child in schema["properties"].items()}
    return {key: entry for key, entry in {**inner, **value}.items() if entry is not None}


class Comparison:
    """Of one model with one part of a CRD."""

    def __init__(self, model: type[BaseModel], part: str, plural: str) -> None:
        self.schema = model.model_json_schema()
        self.part = part
        self.said_by_rules = SAID_BY_RULES.get(plural, {})

    def differences(self, crd: Schema) -> list[str]:
        return self._of(self.schema, crd, self.part)

    def _of(self, model: Schema, crd: Schema, path: str) -> list[str]:
        model = expanded(model, self.schema.get("$defs", {}))
        if model.get("type") != crd.get("type"):
            return [f"{path}: {model.get('type')} in the model, {crd.get('type')} in the CRD"]
        found = self._bounds(model, crd, path)
        if set(model.get("enum", [])) != set(crd.get("enum", [])):
            found.append(f"{path}: the model takes {model.get('enum')}, the CRD {crd.get('enum')}")
        if "items" in model:
            found += self._entries(model["items"], crd["items"], path + "[]")
        if "properties" in model:
            found += self._fields(model, crd, path)
        elif "additionalProperties" in crd:
            found += self._entries(model["additionalProperties"], crd["additionalProperties"], path + "{}")
        return found

    def _entries(self, model: Schema | Literal[True], crd: Schema, path: str) -> list[str]:
        """What Kubernetes alone reads (resources, tolerations) has no model."""
        passed_on = model is True or model.get("additionalProperties") is True
        return [] if model is True or passed_on else self._of(model, crd, path)

    def _bounds(self, model: Schema, crd: Schema, path: str) -> list[str]:
        if not path.startswith("spec") or "enum" in crd:
            return []
        compared = set(BOUNDS[crd["type"]]) - self.said_by_rules.get(path, set())
        return [
            f"{path}: {bound} {model.get(bound)!r} in the model, {crd.get(bound)!r} in the CRD"
            for bound in sorted(compared)
            if model.get(bound) != crd.get(bound)
        ]

    def _fields(self, model: Schema, crd: Schema, path: str) -> list[str]:
        ours, theirs = model["properties"], crd.get("properties", {})
        found = [f"{path}.{name}: only in the CRD" for name in theirs.keys() - ours.keys()]
        found += [f"{path}.{name}: only in the model" for name in ours.keys() - theirs.keys()]
        for name in ours.keys() & theirs.keys():
            at = f"{path}.{name}"
            if name not in crd.get("required", []):
                found += _presence(ours[name], theirs[name], required=name in model.get("required", []), path=at)
            found += self._of(ours[name], theirs[name], at)
        return found


def _presence(model: Schema, crd: Schema, *, required: bool, path: str) -> list[str]:
    if required:
        return [] if "default" in crd else [f"{path}: the model requires what the CRD lets out"]
    ours, theirs = meaning(model.get("default")), meaning(default_of(crd))
    return [] if (ours or None) == (theirs or None) else [f"{path}: default {ours!r} here, {theirs!r} in the CRD"]


@pytest.mark.parametrize(
    ("plural", "part", "model"),
    [
        ("basemodels", "spec", BaseModelSpec),
        ("basemodels", "status", BaseModelStatus),
        ("finetunejobs", "spec", FineTuneJobSpec),
        ("finetunejobs", "status", FineTuneJobStatus),
        ("adapters", "spec", AdapterSpec),
        ("adapters", "status", AdapterStatus),
        ("adapterdeployments", "spec", AdapterDeploymentSpec),
        ("adapterdeployments", "status", AdapterDeploymentStatus),
    ],
)
def test_model_and_crd_agree(plural: str, part: str, model: type[BaseModel]) -> None:
    assert Comparison(model, part, plural).differences(schema_of(plural, part)) == []


def test_the_operator_counts_users_as_the_crd_does() -> None:
    assert schema_of("adapters", "status")["properties"]["usedBy"]["maxItems"] == USERS_LIMIT


def test_an_import_takes_what_an_adapter_can_say() -> None:
    lora = schema_of("adapters", "spec")["properties"]["lora"]["properties"]
    modules = lora["targetModules"]
    assert (lora["rank"]["maximum"], lora["alpha"]["maximum"]) == (imports.MOST_RANK, imports.MOST_ALPHA)
    assert (modules["maxItems"], modules["items"]["maxLength"]) == (imports.MOST_MODULES, imports.MOST_NAME)


class Wrong(BaseModel):
    source: int
    variants: Annotated[list[Literal["NF4"]], Field(max_length=4)] = ["NF4"]
    extra: str | None = None


def test_every_difference_is_named_by_its_field() -> None:
    assert sorted(Comparison(Wrong, "spec", "basemodels").differences(schema_of("basemodels", "spec"))) == [
        "spec.chatTemplate: only in the CRD",
        "spec.extra: only in the model",
        "spec.pod: only in the CRD",
        "spec.source: integer in the model, string in the CRD",
        "spec.variants: default ['NF4'] here, None in the CRD",
        "spec.variants: minItems None in the model, 1 in the CRD",
        "spec.variants[]: the model takes ['NF4'], the CRD ['None', 'INT8', 'NF4', 'FP4']",
    ]
