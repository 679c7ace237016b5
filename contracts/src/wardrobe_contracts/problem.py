"""What is wrong, in the four parts that a person needs: which field, which value, which rule, what to do next."""

from .base import Record


class Problem(Record):
    """One thing that a person can mend.

    `field` is a path in the resource the person wrote (`spec.dataset.source`), not in our configs.
    """

    field: str
    value: str
    rule: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.field} is {self.value!r}: {self.rule}. {self.next_step}."
