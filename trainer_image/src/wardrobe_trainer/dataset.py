"""What a row of a dataset is, and saying precisely what is wrong with one.

Messages become conditions and events, which more people read than the rows: they give a row's number and the rule that
it breaks, and never a word of it.
"""

from dataclasses import dataclass

from wardrobe_contracts.exits import Reason
from wardrobe_models.chat import Chat, Message

from .problems import NAMED_EXAMPLES, bad_data, listed

FIELD, VALIDATION_FIELD = "spec.dataset.source", "spec.dataset.validation.source"
ROW_LIMIT = 4 * 2**20
"""Bytes of a row, which takes twenty times as much to parse. 128,000 tokens are some 0.6 MB of text."""
TEXT = "text"
"""Role of the only message of a row that is no conversation but a text."""
LEARNT = frozenset({"assistant", TEXT})
"""Roles of what carries labels."""


@dataclass(frozen=True)
class Row:
    """One accepted row."""

    number: int
    """In the file, from 1; of lines, blank ones are counted."""
    messages: list[Message]
    line: str
    """As the run keeps it: JSON, without a line end; where the file is of such lines, as it stands there."""

    @property
    def answer(self) -> str:
        """The last message: the assistant's, or the text."""
        return self.messages[-1]["content"]


@dataclass(frozen=True)
class Fault:
    """What is wrong with one row. Rows with the same rule are reported together."""

    number: int
    reason: Reason
    found: str
    """In our own words: nothing of the row."""
    rule: str
    next_step: str
    field: str | None = None
    """Where a person mends it, if not in the file."""


class Faults:
    """What is wrong with a dataset, in memory that does not grow with it: the first kind, and how many others."""

    def __init__(self, field: str = FIELD) -> None:
        self._field = field
        """Which names the file."""
        self._first: Fault | None = None
        self._numbers: list[str] = []
        """Of the first rows that have the first kind."""
        self._same = self._others = 0

    def __bool__(self) -> bool:
        return self._first is not None

    def add(self, fault: Fault) -> None:
        """Count one, in the order of the file."""
        self._first = self._first or fault
        if fault.rule != self._first.rule:
            self._others += 1
            return
        self._same += 1
        if len(self._numbers) < NAMED_EXAMPLES:
            self._numbers.append(str(fault.number))

    def raise_any(self, rows: int) -> None:
        """Raise TaskError with the first kind, the rows that have it, and how many rows have another."""
        if self._first is None:
            return
        rest = self._same - len(self._numbers)
        numbers = listed(self._numbers) + (f" and {rest} more" if rest else "")
        extra = f" ({self._others} more rows have other faults)" if self._others else ""
        raise bad_data(
            self._first.reason,
            field=self._first.field or self._field,
            value=f"row {self._first.number}: {self._first.found}",
            rule=f"{self._first.rule}; {self._same} of {rows} rows break this: {numbers}{extra}",
            next_step=self._first.next_step,
        )


def too_long(number: int) -> Fault:
    """A row that is not even parsed."""
    rule, hint = f"a row has at most {ROW_LIMIT} bytes", "Write one conversation per row, and cut what is longer"
    return Fault(number, Reason.DATASET_MALFORMED, "longer than that", rule, hint)


def control_token_fault(row: Row, chat: Chat) -> Fault | None:
    """Control tokens in a message, which the engine does not take from clients either."""
    found = next((token for message in row.messages if (token := chat.control_token_in(message["content"]))), None)
    if found is None:
        return None
    return Fault(
        row.number,
        Reason.DATASET_MALFORMED,
        f"{found!r} in a message",
        "a message must not contain the tokenizer's control tokens",
        "Remove the tokens from the text; the chat template writes them itself",
    )
