"""What is wrong, in the four parts that a person needs: which field, which value, which rule, what to do next."""

from typing import Self

from .base import Record
from .text import shorten


class Problem(Record):
    """One thing that a person can mend.

    `field` is a path in the resource the person wrote (`spec.dataset.source`), not in our configs.
    """

    field: str
    value: str
    rule: str
    next_step: str

    def shortened(self, limit: int) -> Self:
        """With each of its parts cut to so many characters."""
        return self.model_copy(update={name: shorten(text, limit) for name, text in self})

    def __str__(self) -> str:
        return f"{self.field} is {self.value!r}: {self.rule}. {self.next_step}."
