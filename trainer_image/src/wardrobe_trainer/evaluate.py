"""Held-out rows as tokens, and what a model makes of them: loss of whole answers and of their bodies."""

import hashlib
import json
from dataclasses import dataclass

import torch

from wardrobe_contracts.check import Frame
from wardrobe_models.chat import Chat

from .comparison import Counts, Sums
from .dataset import Row
from .framing import body_of
from .scoring import Passage
from .tokens import encode


@dataclass(frozen=True)
class HeldOut:
    """One held-out row: its answers' tokens, and which of them are body."""

    passage: Passage
    body: list[bool]
    """Parallel to the passage's positions."""


def prepare(chat: Chat, rows: list[Row], frame: Frame, length: int) -> list[HeldOut]:
    """Rows as tokens, truncated to `length` as in training."""
    return [_prepare(chat, row, frame, length) for row in rows]


def _prepare(chat: Chat, row: Row, frame: Frame, length: int) -> HeldOut:
    encoded = encode(chat, row.messages).truncated(length)
    text = chat.render(row.messages)
    offsets = chat.offsets(text)
    turns = [index for index, message in enumerate(row.messages) if message["role"] == "assistant"]
    positions: list[int] = []
    body: list[bool] = []
    for turn, (start, end) in zip(turns, encoded.answers, strict=False):  # truncation may have cut later answers
        prompt = len(chat.render(row.messages[:turn], prompt=True))
        answer = row.messages[turn]["content"]
        positions += range(start, end)
        body += body_tokens(offsets[start:end], text, prompt, answer, frame)
    return HeldOut(Passage(encoded.ids, positions), body)


def body_tokens(offsets: list[tuple[int, int]], text: str, prompt: int, answer: str, frame: Frame) -> list[bool]:
    """Which of an answer's tokens are body. `prompt` is where, in characters, the answer's turn begins in `text`.

    A token that covers any character of the body belongs to it. The end token does where no closing comes before it:
    after a closing it is as easily learnt as the closing itself.
    """
    stripped = answer.strip()
    begin = text.find(stripped, prompt)  # templates may strip white space around a message
    start, end, closed = body_of(stripped, frame)
    start, end = (begin + start, begin + end) if begin >= 0 else (prompt, len(text))
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
