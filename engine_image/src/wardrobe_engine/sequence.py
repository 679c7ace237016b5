"""One accepted request while the model's thread works on it."""

import math
import time

import torch
from tokenizers import Tokenizer

from .adapters import Loaded
from .errors import GenerationError
from .generation import End, FinishReason, Generation, Token
from .sampling import Drawer
from .text import StopFinder, TextStream


class Sequence:
    """Turns a request's tokens into events and knows when it is complete."""

    def __init__(
        self,
        request: Generation,
        adapter: Loaded,
        tokenizer: Tokenizer,
        specials: frozenset[int],
        device: torch.device,
    ) -> None:
        self.request = request
        self.adapter = adapter
        self.admitted = time.monotonic()
        self.generated = 0
        self.drawer = Drawer(request.sampling, device) if request.sampling else None
        self._tokenizer = tokenizer
        self._specials = specials
        self._text = TextStream(tokenizer, request.prompt)
        self._stops = StopFinder(request.stop)

    def take(self, token: int, logprob: float, eos: frozenset[int]) -> Token:
        """The event of the next token; its `end` is set where it is the last. Raises GenerationError."""
        if not math.isfinite(logprob):
            raise GenerationError("the model's output is not a number")
        self.generated += 1
        special = token in eos or token in self._specials
        piece = self._text.push(token)
        shown = self._tokenizer.decode([token], skip_special_tokens=False) if special else piece
        return Token(token, shown, logprob, special, self._end(token, eos, self._stops.push(piece)))

    def _end(self, token: int, eos: frozenset[int], cut: tuple[int, int] | None) -> End | None:
        if cut:
            return End(FinishReason.STOP_SEQUENCE, "", cut)
        if token in eos:
            reason = FinishReason.EOS_TOKEN
        elif self.generated >= self.request.max_new_tokens:
            reason = FinishReason.LENGTH
        else:
            return None
        tail = self._text.flush()
        return End(reason, tail, self._stops.push(tail))
