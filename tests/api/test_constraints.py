"""Every bound, pattern, enum and required field of the specs, broken one at a time on otherwise good objects."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WHOLE = {
    "basemodels": ("basemodel-all-fields.yaml",),
    "finetunejobs": (
        "finetunejob-all-fields.yaml",
        "finetunejob-full.yaml",
        "finetunejob-chats.yaml",
        "finetunejob-import.yaml",
    ),
    "adapters": ("adapters/rejected.yaml", "adapters/from-elsewhere.yaml"),
    "adapterdeployments": ("adapterdeployment-all-fields.yaml",),
}
"""Good objects that have every field, the first all but what it cannot have beside others."""
REMOVE = object()
Schema = dict[str, Any]
Path_ = tuple[str | int, ...]
Case = tuple[Path_, str, Any]
"""Where, which constraint, and a value that breaks it."""

pytestmark = pytest.mark.controlplane


BREAK: dict[str, Callable[[Any, Any], Any]] = {
    "enum": lambda bound, good: "Nonsense",
    "pattern": lambda bound, good: "no such pattern!",
    "minimum": lambda bound, good: bound - 1,
    "maximum": lambda bound, good: bound + 1,
    "minLength": lambda bound, good: "",
    "maxLength": lambda bound, good: str(good) + "a" * bound,
    "minItems": lambda bound, good: [],
    "maxItems": lambda bound, good: [good[0]] * (bound + 1),
    "minProperties": lambda bound, good: {},
    "maxProperties": lambda bound, good: {f"example.com/n{i}": next(iter(good.values())) for i in range(bound + 1)},
    "type": lambda bound, good: 5 if bound == "string" else f"not {bound}",
}
"""A value that breaks a constraint, from its bound and a good value."""


def cases(schema: Schema, value: Any, path: Path_) -> Iterator[Case]:
    """Of the fields that a good value has."""
    for constraint in sorted(BREAK.keys() & schema.keys()):
        yield path, constraint, BREAK[constraint](schema[constraint], value)
    for name in schema.get("required", []):
        yield (*path, name), "required", REMOVE
    for name, child in schema.get("properties", {}).items():
        if name in value:
            yield from cases(child, value[name], (*path, name))
    if "items" in schema:
        yield from cases(schema["items"], value[0], (*path, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        key = next(iter(value))
        yield from cases(schema["additionalProperties"], value[key], (*path, key))


def all_cases() -> Iterator[Any]:
    for plural, wholes in WHOLE.items():
        schema, seen = schema_of(plural), set()
        for example in map(example_of, wholes):
            for path, constraint, wrong in cases(schema, example["spec"], ("spec",)):
                label = f"{plural}-{'.'.join(map(str, path))}-{constraint}"
                if label not in seen:
                    yield pytest.param(example, path, wrong, id=label)
                seen.add(label)


def schema_of(plural: str) -> Schema:
    crd = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())
    found: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def example_of(name: str) -> Any:
    return yaml.safe_load((ROOT / "examples" / name).read_text())


def absent(schema: Schema, values: list[Any], path: str) -> Iterator[str]:
    """Fields that none of the values has."""
    for name, child in schema.get("properties", {}).items():
        having = [value[name] for value in values if name in value]
        yield from absent(child, having, f"{path}.{name}") if having else (f"{path}.{name}",)


@pytest.mark.parametrize("plural", WHOLE)
def test_the_examples_have_every_field(plural: str) -> None:
    values = [example_of(name)["spec"] for name in WHOLE[plural]]
    assert list(absent(schema_of(plural), values, "spec")) == []


def changed(example: dict[str, Any], path: Path_, wrong: Any) -> dict[str, Any]:
    copy = deepcopy(example)
    node: Any = copy
    for key in path[:-1]:
        node = node[key]
    if wrong is REMOVE:
        del node[path[-1]]
    else:
        node[path[-1]] = wrong
    return copy


@pytest.mark.parametrize(("example", "path", "wrong"), list(all_cases()))
def test_breaking_a_constraint_is_refused(
    example: dict[str, Any], path: Path_, wrong: Any, shared_api: Any, refused: type[Exception]
) -> None:
    with pytest.raises(refused) as error:
        shared_api.try_create(changed(example, path, wrong))
    field = next(str(key) for key in reversed(path) if isinstance(key, str))
    assert field in str(error.value)
