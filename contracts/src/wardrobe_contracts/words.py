"""Words that stand in statuses, with what a person is told of each; docs/conditions.md is written from them."""

from enum import StrEnum
from typing import Self


class Word(StrEnum):
    """A stable word. A member is written as the word, its meaning, and what a person does next, if anything."""

    meaning: str
    next_step: str

    def __new__(cls, word: str, *_: object) -> Self:  # what follows the word goes to __init__ alone
        member = str.__new__(cls, word)
        member._value_ = word
        return member

    def __init__(self, _: str, meaning: str, next_step: str = "") -> None:
        self.meaning = meaning
        self.next_step = next_step
