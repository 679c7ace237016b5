"""Every bound, pattern, enum and required field of the specs, broken one at a time on otherwise good objects."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WHOLE = {
    "basemodels": ROOT / "examples/basemodel-all-fields.yaml",
    "finetunejobs": ROOT / "examples/finetunejob-all-fields.yaml",
    "adapters": ROOT / "examples/adapters/as-made.yaml",
    "adapterdeployments": ROOT / "examples/adapterdeployment-all-fields.yaml",
}
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
    for constraint in sorted(BREAK.keys() & schema.keys()):
        yield path, constraint, BREAK[constraint](schema[constraint], value)
    for name in schema.get("required", []):
        yield (*path, name), "required", REMOVE
    for name, child in schema.get("properties", {}).items():
        assert name in value, f"the whole example lacks {'.'.join(map(str, path))}.{name}"
        yield from cases(child, value[name], (*path, name))
    if "items" in schema:
        yield from cases(schema["items"], value[0], (*path, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        key = next(iter(value))
        yield from cases(schema["additionalProperties"], value[key], (*path, key))


def all_cases() -> Iterator[Any]:
    for plural, whole in WHOLE.items():
        crd = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        example = yaml.safe_load(whole.read_text())
        for path, constraint, wrong in cases(schema, example["spec"], ("spec",)):
            label = f"{plural}-{'.'.join(map(str, path))}-{constraint}"
            yield pytest.param(example, path, wrong, id=label)


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
