"""What becomes of rows, a few at a time: whatever depends on nothing but the row itself and the base."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.exits import Reason
from wardrobe_models.chat import Chat, ChatTemplateError

from .bodies import places
from .dataset import Fault, Row, control_token_fault
from .framing import ends_of
from .index import Column, Side, hash64
from .layouts import parse_row
from .readers.line import Line
from .rules import Scans, flags
from .split import held_out, normalised, prompt_key, user_turns
from .token_file import Words, words_of
from .tokens import Encoded, Unencodable, encode_all

_ACCEPTED = "the base's chat template must accept the conversation"


@dataclass(frozen=True)
class Examined:
    """A row with what becomes of it."""

    number: int
    line: str
    """As the run keeps it."""
    side: Side
    longest: int
    """Tokens of its longest example, before truncation."""
    examples: list[Words]
    """After truncation, those that keep some of their labels."""
    labels: int
    """Tokens of these that carry one."""
    flags: int
    prompt: int
    question: int
    answer: int
    said: str
    """The answer, in which the frame is looked for; of a long one its two ends."""
    places: Column
    """Of a held-out row: see `bodies`."""


@dataclass(frozen=True)
class Examination:
    """What a check asks of rows."""

    chat: Chat
    config: CheckConfig
    active: Scans
    apart: bool = False
    """Whether they are the rows of `validation.source`, all of which are held out."""

    def __call__(self, lines: Sequence[Line | Fault]) -> list[Examined | Fault]:
        """Each row under the base's own template, and its side; or what is wrong with it."""
        rows = [self._row(line) for line in lines]
        sides = [Side.DROPPED if isinstance(row, Fault) else self._side(row) for row in rows]
        encoded = {side: self._encoded(rows, sides, side) for side in (Side.TRAIN, Side.HELDOUT)}
        return [
            row if isinstance(row, Fault) else self._examined(row, side, next(encoded[side]))
            for row, side in zip(rows, sides, strict=True)
        ]

    def _encoded(
        self, rows: Sequence[Row | Fault], sides: Sequence[Side], side: Side
    ) -> Iterator[list[Encoded] | Unencodable]:
        """Of one side's rows."""
        pairs = zip(rows, sides, strict=True)
        messages = [row.messages for row, found in pairs if found is side and isinstance(row, Row)]
        return iter(encode_all(self.chat, messages, placed=side is Side.HELDOUT))

    def _row(self, line: Line | Fault) -> Row | Fault:
        row = line if isinstance(line, Fault) else parse_row(line.number, line.text, self.config.columns)
        return row if isinstance(row, Fault) else control_token_fault(row, self.chat) or row

    def _examined(self, row: Row, side: Side, encoded: list[Encoded] | Unencodable) -> Examined | Fault:
        if isinstance(encoded, Exception):
            return _fault(row, encoded)
        cut = [example.truncated(self.config.sequence_length) for example in encoded]
        examples = [example for example in cut if example.label_tokens]
        side = side if examples else Side.DROPPED
        return Examined(
            number=row.number,
            line=row.line,
            side=side,
            longest=max(len(example.ids) for example in encoded),
            examples=[words_of(example) for example in examples],
            labels=sum(example.label_tokens for example in examples),
            flags=flags(row, self.active),
            prompt=hash64(prompt_key(row.messages)),
            question=hash64(user_turns(row.messages)),
            answer=hash64(normalised(row.answer)),
            said=ends_of(row.answer) if side is Side.TRAIN else "",
            places=places(self.chat, row.messages, encoded, cut) if side is Side.HELDOUT else np.zeros(0, np.int32),
        )

    def _side(self, row: Row) -> Side:
        if self.config.validation is not None:
            return Side.HELDOUT if self.apart else Side.TRAIN
        outside = held_out(row.messages, seed=self.config.seed, fraction=self.config.fraction)
        return Side.HELDOUT if outside else Side.TRAIN


def _fault(row: Row, error: Unencodable) -> Fault:
    """Why the base cannot be trained on a row."""
    if isinstance(error, ChatTemplateError):
        found = "the template refuses it" if error.own_words else "the template fails on it"
        rule = f"the base's chat template says: {error.own_words}" if error.own_words else _ACCEPTED
        return Fault(row.number, Reason.ROLES_INVALID, found, rule, "Leave out what the template refuses")
    hint = "Write the answers as plain text, or leave the rows out"
    return Fault(row.number, Reason.DATASET_MALFORMED, "an answer cannot be labelled", str(error), hint)
