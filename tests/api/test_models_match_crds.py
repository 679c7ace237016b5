"""The operator's typed models and the CRDs say the same.

Compared are names of fields, what may be left out, enums and defaults. A model may give a value where the CRD
requires one (the parts that two kinds share), never the other way round.
"""

import types
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from wardrobe.api.adapter import AdapterSpec, AdapterStatus
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec, AdapterDeploymentStatus
from wardrobe.api.basemodel import BaseModelSpec, BaseModelStatus
from wardrobe.api.finetunejob import FineTuneJobSpec, FineTuneJobStatus

CRDS = Path(__file__).parents[2] / "crds"
SCALARS = {"string": str, "integer": int}
Schema = dict[str, Any]


def schema_of(plural: str, part: str) -> Schema:
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    found: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def without_none(annotation: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(annotation) not in {Union, types.UnionType}:
        return annotation
    (only,) = (entry for entry in get_args(annotation) if entry is not type(None))
    return only


def enum_of(annotation: Any) -> set[str] | None:
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {member.value for member in annotation}
    return None


def meaning(value: Any) -> Any:
    """A default as JSON without what is empty: leaving it out means the same."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list):
        return [meaning(entry) for entry in value]
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


def differences(annotation: Any, schema: Schema, path: str) -> list[str]:
    annotation = without_none(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _of_object(annotation, schema, path)
    if get_origin(annotation) is list:
        return _of_list(annotation, schema, path)
    if get_origin(annotation) is dict:
        return _of_map(annotation, schema, path)
    return _of_scalar(annotation, schema, path)


def _of_scalar(annotation: Any, schema: Schema, path: str) -> list[str]:
    values = enum_of(annotation)
    if values is not None or "enum" in schema:
        wanted = set(schema.get("enum", []))
        return [] if values == wanted else [f"{path}: the model takes {values}, the CRD {wanted}"]
    return [] if annotation is SCALARS.get(schema.get("type", "")) else [f"{path}: {annotation} is no {schema['type']}"]


def _of_list(annotation: Any, schema: Schema, path: str) -> list[str]:
    if schema.get("type") != "array":
        return [f"{path}: a list only in the model"]
    return differences(get_args(annotation)[0], schema["items"], path + "[]")


def _of_map(annotation: Any, schema: Schema, path: str) -> list[str]:
    if schema.get("type") != "object":
        return [f"{path}: an object only in the model"]
    value = get_args(annotation)[1]
    if value is Any or "additionalProperties" not in schema:
        return []
    return differences(value, schema["additionalProperties"], path + "{}")


def _of_object(model: type[BaseModel], schema: Schema, path: str) -> list[str]:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    properties = schema.get("properties", {})
    found = [f"{path}.{name}: only in the CRD" for name in properties.keys() - fields.keys()]
    found += [f"{path}.{name}: only in the model" for name in fields.keys() - properties.keys()]
    for name in fields.keys() & properties.keys():
        at = f"{path}.{name}"
        found += _presence(fields[name], properties[name], required=name in schema.get("required", []), path=at)
        found += differences(fields[name].annotation, properties[name], at)
    return found


def _presence(field: FieldInfo, schema: Schema, *, required: bool, path: str) -> list[str]:
    if required:
        return []
    if field.is_required():
        return [] if "default" in schema else [f"{path}: the model requires what the CRD lets out"]
    ours, theirs = meaning(field.get_default(call_default_factory=True)), meaning(default_of(schema))
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
    assert differences(model, schema_of(plural, part), part) == []


def test_a_difference_is_seen() -> None:
    class Wrong(BaseModel):
        source: int
        variants: list[str] = ["NF4"]
        extra: str | None = None

    assert len(differences(Wrong, schema_of("basemodels", "spec"), "spec")) == 4
