"""Texts below the members of an enumeration: what Python drops, and a reader of the source sees."""

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

_LINES = re.compile(
    r"(?P<places>((True|False|Unknown) on [^.]+\. ?)*)(Ends (?P<tasks>[^.]+)\. ?)?(Next: (?P<next_step>.+))?"
)
"""What follows a meaning, white space made one blank each."""
_PLACES = re.compile(r"(True|False|Unknown) on ([^.]+)\.")


@dataclass(frozen=True)
class Place:
    """Where a reason stands."""

    kind: str
    condition: str
    status: str


@dataclass(frozen=True)
class Member:
    """A word and what the source says of it."""

    word: str
    meaning: str
    places: tuple[Place, ...]
    """Of a condition's reason."""
    tasks: tuple[str, ...]
    """Of a task's reason: tasks that end so."""
    next_step: str


@cache
def members(words: type[StrEnum]) -> tuple[Member, ...]:
    """All members, in the order of the source. Raises ValueError for one whose text is missing or not understood."""
    texts = dict(_texts(words))
    return tuple(_member(words, word, texts.get(word.name, "")) for word in words)


def _texts(words: type[StrEnum]) -> Iterator[tuple[str, str]]:
    (source,) = ast.parse(textwrap.dedent(inspect.getsource(words))).body
    body = source.body if isinstance(source, ast.ClassDef) else []
    for statement, below in itertools.pairwise(body):
        match statement, below:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)


def _member(words: type[StrEnum], word: StrEnum, text: str) -> Member:
    meaning, _, rest = text.partition("\n\n")
    found = _LINES.fullmatch(" ".join(rest.split()))
    if not meaning or found is None:
        raise ValueError(f"the text below {words.__module__}.{words.__name__}.{word.name} is missing or not understood")
    return Member(
        word=word.value,
        meaning=" ".join(meaning.split()),
        places=tuple(_places(found["places"])),
        tasks=tuple((found["tasks"] or "").split(", ")) if found["tasks"] else (),
        next_step=found["next_step"] or "",
    )


def _places(text: str) -> Iterator[Place]:
    for status, kinds in _PLACES.findall(text):
        for one in kinds.split("; "):
            kind, _, conditions = one.partition(" ")
            yield from (Place(kind, condition, status) for condition in conditions.split(", "))
