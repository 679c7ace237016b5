"""Held-out rows as tokens, and what a model makes of them: loss of whole answers and of their bodies."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wardrobe_contracts.check import Frame
from wardrobe_models.chat import Chat

from .bodies import body_tokens, places
from .comparison import Counts, Sums
from .dataset import Row
from .scoring import Passage
from .token_file import TokenFile, Words, labelled, of_body, tokens_of
from .tokens import encode


@dataclass(frozen=True)
class HeldOut:
    """One held-out example: its answers' tokens, and which of them are body."""

    passage: Passage
    body: list[bool]
    """Parallel to the passage's positions."""


def prepare(chat: Chat, rows: list[Row], frame: Frame, length: int) -> list[HeldOut]:
    """Rows as the examples that training would make of them, truncated to `length`: what a check leaves as tokens."""
    return [one for row in rows for one in _prepare(chat, row, frame, length)]


def _prepare(chat: Chat, row: Row, frame: Frame, length: int) -> Iterator[HeldOut]:
    whole = encode(chat, row.messages)
    cut = [example.truncated(length) for example in whole]
    body = iter(body_tokens(places(chat, row.messages, whole, cut), row.messages, frame).tolist())
    for example in cut:
        positions = [place for start, end in example.answers for place in range(start, end)]
        if positions:
            yield HeldOut(Passage(example.ids, positions), [next(body) for _ in positions])


def as_checked(tokens: TokenFile, rows: Sequence[int]) -> list[HeldOut]:
    """The examples of some rows as the check left them; places of rows in ascending order."""
    chosen = np.flatnonzero(np.isin(tokens.rows, rows))
    return [_read(tokens.words(int(index))) for index in chosen]


def _read(words: Words) -> HeldOut:
    positions = np.flatnonzero(labelled(words))
    passage = Passage(tokens_of(words).tolist(), positions.tolist())
    return HeldOut(passage, of_body(words)[positions].tolist())


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
