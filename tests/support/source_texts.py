"""What the programs can say: every string of their sources, and every message of the CRDs."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MEMBERS = ("contracts", "operator", "gateway", "models", "trainer_image", "engine_image")


@cache
def strings() -> frozenset[str]:
    """Every literal; of an f-string each part between two values. What stands on several lines is one."""
    return frozenset(_python()) | frozenset(_crds())


@cache
def refusals() -> frozenset[tuple[int, str]]:
    """Status and code of every error that router and agent answer with."""
    calls = (node for tree in _trees("gateway") for node in ast.walk(tree) if isinstance(node, ast.Call))
    found = (call.args for call in calls if isinstance(call.func, ast.Name) and call.func.id == "ApiError")
    return frozenset(
        (status.value, code.value)
        for status, code, *_ in found
        if isinstance(status, ast.Constant)
        and isinstance(status.value, int)
        and isinstance(code, ast.Constant)
        and isinstance(code.value, str)
    )


def _trees(*members: str) -> Iterator[ast.Module]:
    for member in members:
        for path in sorted((ROOT / member / "src").rglob("*.py")):
            yield ast.parse(path.read_text())


def _python() -> Iterator[str]:
    for tree in _trees(*MEMBERS):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _crds() -> Iterator[str]:
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        yield from _leaves(yaml.safe_load(path.read_text()))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _leaves(child)
