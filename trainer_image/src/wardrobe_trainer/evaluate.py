"""Held-out rows as tokens, and what a model makes of them: loss of whole answers and of their bodies."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from wardrobe_contracts.check import Frame
from wardrobe_models.chat import Chat

from .comparison import Counts, Sums
from .dataset import Row
from .framing import body_of
from .scoring import Passage
from .tokens import answer_offsets, encode, turns


@dataclass(frozen=True)
class HeldOut:
    """One held-out example: its answers' tokens, and which of them are body."""

    passage: Passage
    body: list[bool]
    """Parallel to the passage's positions."""


def prepare(chat: Chat, rows: list[Row], frame: Frame, length: int) -> list[HeldOut]:
    """Rows as the examples that training would make of them, truncated to `length`."""
    return [one for row in rows for one in _prepare(chat, row, frame, length)]


def _prepare(chat: Chat, row: Row, frame: Frame, length: int) -> Iterator[HeldOut]:
    bodies = iter(_bodies(chat, row, frame))
    for encoded in encode(chat, row.messages):
        cut = encoded.truncated(length)
        positions: list[int] = []
        body: list[bool] = []
        own = [next(bodies) for _ in encoded.answers]
        for (start, end), mask in zip(cut.answers, own, strict=False):  # truncation may have cut later answers
            positions += range(start, end)
            body += mask[: end - start]
        if positions:
            yield HeldOut(Passage(cut.ids, positions), body)


def _bodies(chat: Chat, row: Row, frame: Frame) -> list[list[bool]]:
    """Of each answer, which of its tokens are body."""
    answers = [message["content"] for message in row.messages if message["role"] == "assistant"]
    return [
        body_tokens(answer_offsets(chat, turn), turn.answer, answer, frame)
        for turn, answer in zip(turns(chat, row.messages), answers, strict=True)
    ]


def body_tokens(offsets: list[tuple[int, int]], text: str, answer: str, frame: Frame) -> list[bool]:
    """Which of an answer's tokens are body. `text` is what the template writes for it.

    A token that covers any character of the body belongs to it. The end token does where no closing comes before it:
    after a closing it is as easily learnt as the closing itself.
    """
    stripped = answer.strip()
    begin = text.find(stripped)  # templates may strip white space around a message
    start, end, closed = body_of(stripped, frame)
    start, end = (begin + start, begin + end) if begin >= 0 else (0, len(text))
    after = begin + len(stripped)
    return [(start < end and low < end and high > start) or (low >= after and not closed) for low, high in offsets]


def counts(rows: list[HeldOut]) -> Counts:
    """How many tokens are scored."""
    return Counts(whole=[len(row.body) for row in rows], body=[sum(row.body) for row in rows])


def digest(rows: list[HeldOut]) -> str:
    """Of all that their scores depend on, but for the model."""
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps([row.passage.ids, row.passage.positions, row.body]).encode())
    return found.hexdigest()


def sums(log_probs: list[torch.Tensor], rows: list[HeldOut]) -> Sums:
    """Of log-probabilities, which are parallel to the rows' passages."""
    body = [-float(found[torch.tensor(row.body)].sum()) for found, row in zip(log_probs, rows, strict=True)]
    return Sums(whole=[-float(found.sum()) for found in log_probs], body=body)
