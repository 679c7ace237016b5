"""Rules for the CRDs' text, after the Kubernetes API conventions and Kube API Linter."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CRDS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(Path(__file__).parents[2].glob("crds/*.yaml"))}
OPAQUE = ("metadata",)
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}
SUSPEND = "finetunejobs.spec.suspend"
"""The only boolean: batch/v1 has it under this name, and so have those who suspend Jobs."""
Node = tuple[str, dict[str, Any]]


def version(crd: dict[str, Any]) -> dict[str, Any]:
    (only,) = crd["spec"]["versions"]
    return dict(only)


def walk(path: str, schema: dict[str, Any]) -> Iterator[Node]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        if name not in OPAQUE:
            yield from walk(f"{path}.{name}", child)
    for key, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from walk(path + suffix, schema[key])


def nodes() -> list[Any]:
    return [
        pytest.param(path, schema, id=path)
        for name, crd in CRDS.items()
        for path, schema in walk(name, version(crd)["schema"]["openAPIV3Schema"])
    ]


def every(wanted: Callable[[str, dict[str, Any]], object]) -> pytest.MarkDecorator:
    """Nodes that a rule is about; that there are some is part of it."""
    return pytest.mark.parametrize(("path", "schema"), [node for node in nodes() if wanted(*node.values)])


every_node = every(lambda *_: True)
every_crd = pytest.mark.parametrize("crd", CRDS.values(), ids=CRDS.keys())


def problems_of_string(schema: dict[str, Any]) -> Iterator[str]:
    if "enum" not in schema and "maxLength" not in schema:
        yield "a string needs maxLength or enum"
    if "format" in schema and schema["format"] != "date-time":
        yield "patterns and rules say what a string is; of formats only date-time is used"


def problems_of_integer(schema: dict[str, Any]) -> Iterator[str]:
    if schema.get("format") not in {"int32", "int64"}:
        yield "an integer needs format int32 or int64, which bounds it"
    if "minimum" not in schema:
        yield "an integer needs a minimum"


def problems_of_array(schema: dict[str, Any]) -> Iterator[str]:
    if "maxItems" not in schema:
        yield "a list needs maxItems"
    kind = schema.get("x-kubernetes-list-type")
    if kind not in {"atomic", "set", "map"}:
        yield "a list needs its x-kubernetes-list-type"
    if kind == "map":
        missing = set(schema["x-kubernetes-list-map-keys"]) - set(schema["items"]["required"])
        yield from (f"key {name} of a list-map must be required" for name in missing)


def problems_of_object(schema: dict[str, Any]) -> Iterator[str]:
    if ("properties" in schema) == ("additionalProperties" in schema):
        yield "an object has either properties or additionalProperties"
    if "additionalProperties" in schema and "maxProperties" not in schema:
        yield "a map needs maxProperties"
    unknown = set(schema.get("required", [])) - set(schema.get("properties", {}))
    yield from (f"required {name} is no property" for name in unknown)
    for name, child in schema.get("properties", {}).items():
        if name in schema.get("required", []) and "default" in child:
            yield f"{name} is required and has a default"


PROBLEMS = {
    "string": problems_of_string,
    "integer": problems_of_integer,
    "array": problems_of_array,
    "object": problems_of_object,
}


@every_node
def test_node_is_typed_and_bounded(path: str, schema: dict[str, Any]) -> None:
    if schema.get("x-kubernetes-int-or-string"):
        assert "maxLength" in schema
        return
    if path == SUSPEND:
        assert schema["type"] == "boolean"
        return
    assert schema.get("type") in PROBLEMS, "no floats, no booleans, nothing untyped"
    assert list(PROBLEMS[schema["type"]](schema)) == []


@every_node
def test_node_is_described(path: str, schema: dict[str, Any]) -> None:
    assert schema.get("description", "").endswith((".", ")")), "a description is a sentence"


@every(lambda _, schema: schema.get("default", {}) != {})
def test_default_is_said(path: str, schema: dict[str, Any]) -> None:
    """`kubectl explain` does not show defaults."""
    default = schema["default"]
    words = ", ".join(default) if isinstance(default, list) else json.dumps(default).strip('"')
    quoted = f'"{words}"' if words[0].isdigit() and schema["type"] == "string" else words
    assert schema["description"].endswith(f" Default {quoted}.")


@every_node
def test_node_is_structural(path: str, schema: dict[str, Any]) -> None:
    assert "x-kubernetes-preserve-unknown-fields" not in schema
    assert "x-kubernetes-embedded-resource" not in schema
    assert "nullable" not in schema
    assert ".phase" not in path, "conditions, no phases"


@every(lambda _, schema: schema.get("x-kubernetes-validations"))
def test_rule_has_a_message(path: str, schema: dict[str, Any]) -> None:
    for rule in schema["x-kubernetes-validations"]:
        assert len(rule["message"]) > 40, "a message names field, rule and next step"
        assert ":" in rule["message"], "after the colon: what to do next"


@every(lambda path, schema: ".spec" in path and schema.get("type") == "integer")
def test_number_in_spec_has_an_upper_bound(path: str, schema: dict[str, Any]) -> None:
    assert "maximum" in schema


@every_crd
def test_names(crd: dict[str, Any]) -> None:
    spec = crd["spec"]
    assert crd["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"
    assert spec["group"] == "wardrobe.dev"
    assert spec["scope"] == "Namespaced"
    assert spec["names"]["categories"] == ["wardrobe"]
    assert spec["names"]["listKind"] == spec["names"]["kind"] + "List"


@every_crd
def test_version(crd: dict[str, Any]) -> None:
    only = version(crd)
    assert (only["name"], only["served"], only["storage"]) == ("v1alpha1", True, True)
    scaled = "replicas" in only["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert only["subresources"] == {"status": {}} | ({"scale": SCALE} if scaled else {})


@every_crd
def test_conditions_are_the_standard_ones(crd: dict[str, Any]) -> None:
    status = version(crd)["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    assert status == {**status, "conditions": _conditions(CRDS["basemodels"])}
    assert status["observedGeneration"]["format"] == "int64"
    entry = status["conditions"]["items"]
    assert set(entry["required"]) == {"type", "status", "reason", "message", "lastTransitionTime"}
    assert set(entry["properties"]) == {*entry["required"], "observedGeneration"}


def _conditions(crd: dict[str, Any]) -> Any:
    return version(crd)["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]


@every_crd
def test_columns_are_described_and_end_in_age(crd: dict[str, Any]) -> None:
    *columns, age = version(crd)["additionalPrinterColumns"]
    assert age == {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    assert all(column["description"] for column in columns)
