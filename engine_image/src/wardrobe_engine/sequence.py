"""One accepted request while the model's thread works on it."""

import math

import torch

from wardrobe_models.chat import Chat

from .adapters import Loaded
from .errors import GenerationError
from .generation import End, FinishReason, Generation, Token
from .sampling import Drawer
from .text import StopFinder, TextStream

AHEAD = 256
"""Tokens that are held for a row to grow by, where another asks to join. All that it may become would leave a batch to
one row, where a request names no length and the context is long; with none, newcomers would put others out at once."""


class Sequence:
    """Turns a request's tokens into events and knows when it is complete."""

    def __init__(self, request: Generation, adapter: Loaded, chat: Chat, device: torch.device) -> None:
        self.request = request
        self.adapter = adapter
        self.answer: list[int] = []
        self.drawer = Drawer(request.sampling, device) if request.sampling else None
        self._chat = chat
        self._text = TextStream(chat.backend, request.prompt)
        self._stops = StopFinder(request.stop)

    @property
    def tokens(self) -> list[int]:
        """Prompt and answer: what a model must take in to go on here."""
        return self.request.prompt + self.answer

    @property
    def length(self) -> int:
        """Tokens now."""
        return len(self.request.prompt) + len(self.answer)

    @property
    def reserved(self) -> int:
        """Tokens that it may come to before anybody else joins."""
        return len(self.request.prompt) + min(self.request.max_new_tokens, len(self.answer) + AHEAD)

    def take(self, token: int, logprob: float) -> Token:
        """The event of the next token; its `end` is set where it is the last. Raises GenerationError."""
        if not math.isfinite(logprob):
            raise GenerationError("the model's output is not a number")
        self.answer.append(token)
        special = token in self._chat.end_tokens or token in self._chat.control_tokens
        piece = self._text.push(token)
        shown = self._chat.backend.decode([token], skip_special_tokens=False) if special else piece
        return Token(token, shown, logprob, special, self._end(token, self._stops.push(piece)))

    def _end(self, token: int, cut: tuple[int, int] | None) -> End | None:
        if cut:
            return End(FinishReason.STOP_SEQUENCE, "", cut)
        if token in self._chat.end_tokens:
            reason = FinishReason.EOS_TOKEN
        elif len(self.answer) >= self.request.max_new_tokens:
            reason = FinishReason.LENGTH
        else:
            return None
        tail = self._text.flush()
        return End(reason, tail, self._stops.push(tail))
