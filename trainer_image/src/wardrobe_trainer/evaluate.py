"""Base and candidate on the held-out side: mean loss per answer token, of whole answers and of their bodies."""

from dataclasses import dataclass

import torch
from peft import PeftModel

from wardrobe_contracts.base import Variant
from wardrobe_contracts.check import Frame
from wardrobe_contracts.manifest import Comparison, Evaluation, Score
from wardrobe_models.chat import Chat

from .dataset import Row
from .framing import body_of
from .scoring import Passage, base_and_candidate
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


def evaluate(model: PeftModel, variant: Variant, rows: list[HeldOut]) -> Evaluation:
    """Score the base alone and the base with its adapter, on the same tokens. Raises TaskError."""
    return compare(variant, rows, *base_and_candidate(model, [row.passage for row in rows]))


def compare(
    variant: Variant, rows: list[HeldOut], base: list[torch.Tensor], candidate: list[torch.Tensor]
) -> Evaluation:
    """Of log-probabilities, which are parallel to the rows' passages."""
    whole = [[True] * len(row.body) for row in rows]
    body = [row.body for row in rows]
    # Where the frame is all there is of every answer, the body is the answer.
    chosen = body if any(any(row) for row in body) else whole
    return Evaluation(
        variant=variant,
        whole=Comparison(base=score(base, whole), candidate=score(candidate, whole)),
        body=Comparison(base=score(base, chosen), candidate=score(candidate, chosen)),
    )


def score(log_probs: list[torch.Tensor], chosen: list[list[bool]]) -> Score:
    """Token-weighted mean over all rows: the sum is divided once, so that batches and row lengths do not matter."""
    total = -sum(float(row[torch.tensor(mask)].sum()) for row, mask in zip(log_probs, chosen, strict=True))
    return Score.of(total, sum(sum(mask) for mask in chosen))
