"""Good examples are taken, bad ones refused with the words that tell a person what to do."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GOOD = sorted(path for path in (ROOT / "examples").rglob("*.yaml") if path.parent.name != "bad")
BAD = sorted((ROOT / "examples" / "bad").glob("*.yaml"))
EXPECT = "# expect: "

pytestmark = pytest.mark.controlplane


def named(path: Path) -> str:
    return str(path.relative_to(ROOT / "examples"))


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def expectation(path: Path) -> str:
    first = path.read_text().partition("\n")[0]
    assert first.startswith(EXPECT), f"{path} must begin with {EXPECT!r}"
    return first.removeprefix(EXPECT)


@pytest.mark.parametrize("path", GOOD, ids=named)
def test_good_example_is_taken(path: Path, shared_api: Any) -> None:
    for document in documents(path):
        shared_api.try_create(document)


@pytest.mark.parametrize("path", BAD, ids=named)
def test_bad_example_is_refused(path: Path, shared_api: Any, refused: type[Exception]) -> None:
    *before, last = documents(path)
    with pytest.raises(refused) as error:
        _send(shared_api, before, last)
    assert expectation(path) in str(error.value)


def _send(api: Any, before: list[dict[str, Any]], last: dict[str, Any]) -> None:
    if not before:
        api.try_create(last)
        return
    api.create(before[0])
    try:
        api.replace(last)
    finally:
        api.delete(before[0])


def messages(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for entry in node for found in messages(entry)]
    if not isinstance(node, dict):
        return []
    own = [rule["message"] for rule in node.get("x-kubernetes-validations", [])]
    return own + [
        found for key, entry in node.items() if key != "x-kubernetes-validations" for found in messages(entry)
    ]


CRDS = [yaml.safe_load(file.read_text()) for file in sorted((ROOT / "crds").glob("*.yaml"))]
RULES = [(crd["spec"]["names"]["kind"], message) for crd in CRDS for message in messages(crd)]


@pytest.mark.parametrize(("kind", "message"), RULES)
def test_every_rule_has_a_bad_example(kind: str, message: str) -> None:
    expected = {(next(yaml.safe_load_all(path.read_text()))["kind"], expectation(path)) for path in BAD}
    assert any(kind == of and text in message for of, text in expected)
