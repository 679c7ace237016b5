"""Which tokens of an answer are its body: told from the characters that each covers, once the frame is known.

The frame of a dataset's answers is known when all rows have been read. So what the check finds of held-out rows while
it tokenises them is kept as numbers, and their texts are needed only once more.
"""

from collections.abc import Iterator, Sequence
from itertools import count, repeat

import numpy as np

from wardrobe_contracts.check import Frame
from wardrobe_models.chat import Chat, Message

from .dataset import LEARNT
from .framing import body_of
from .index import Column
from .token_file import Flags
from .tokens import Encoded, Places, Turn, answer_offsets

_HEAD = 4
"""Numbers before an answer's ranges: which answer, where it begins in what the template writes for it (-1 if it does
not stand there), how long that is, how many tokens are labelled."""


def places(chat: Chat, messages: list[Message], whole: Sequence[Encoded], cut: Sequence[Encoded]) -> Column:
    """Of the labelled tokens of a row's truncated examples, the characters that they cover: int32, of any length."""
    numbers, answers = count(), answers_of(messages)
    parts: list[Column] = []
    for encoded, kept in zip(whole, cut, strict=True):
        own = [(next(numbers), turn) for turn in encoded.turns]
        known = encoded.places or repeat(None)
        triples = zip(own, kept.answers, known, strict=False)  # truncation may have cut later ones
        for (place, turn), (start, end), found in triples:
            offsets = answer_offsets(chat, turn) if found is None else found
            parts.append(_of_answer(place, turn, answers[place], offsets[: end - start]))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)


def answers_of(messages: list[Message]) -> list[str]:
    """What carries labels."""
    return [message["content"] for message in messages if message["role"] in LEARNT]


def _of_answer(place: int, turn: Turn, answer: str, offsets: Places) -> Column:
    begin = turn.answer.find(answer.strip())  # templates may strip white space around a message
    head = np.array((place, begin, len(turn.answer), len(offsets)), np.int32)
    return np.concatenate([head, offsets.ravel()])


def body_tokens(found: Column, messages: list[Message], frame: Frame) -> Flags:
    """Which of a row's labelled tokens are body, from what `places` gave."""
    answers = answers_of(messages)
    bodies = [_body(answers[place], begin, length, at, frame) for place, begin, length, at in _answers(found)]
    return np.concatenate(bodies) if bodies else np.zeros(0, dtype=bool)


def _answers(found: Column) -> Iterator[tuple[int, int, int, Column]]:
    while len(found):
        place, begin, length, count = (int(number) for number in found[:_HEAD])
        end = _HEAD + 2 * count
        yield place, begin, length, found[_HEAD:end].reshape(count, 2)
        found = found[end:]


def _body(answer: str, begin: int, length: int, offsets: Column, frame: Frame) -> Flags:
    """A token that covers any character of the body belongs to it. The end token does where no closing comes before it:
    after a closing it is as easily learnt as the closing itself.
    """
    stripped = answer.strip()
    start, end, closed = body_of(stripped, frame)
    start, end = (begin + start, begin + end) if begin >= 0 else (0, length)
    low, high = offsets[:, 0], offsets[:, 1]
    inside = (low < end) & (high > start) if start < end else np.zeros(len(offsets), dtype=bool)
    after: Flags = np.full(len(offsets), not closed) & (low >= begin + len(stripped))
    return inside | after
