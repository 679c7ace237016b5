"""What both families of requests share: strict bodies, prompts to tokens, and answers put together."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from .engine import Engine
from .errors import GenerationError, InvalidRequestError
from .generation import End, Event, PromptScores, Token

MAX_STOPS = 4
"""Stop strings of one request, as in TGI and OpenAI."""


class Body(BaseModel):
    """A request's JSON. Unknown fields are refused: a setting must never be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From a request's bytes. Raises InvalidRequestError."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InvalidRequestError(f"{where}: {first['msg']}" if where else first["msg"]) from error


@dataclass
class Answer:
    """An answer as it grows."""

    tokens: list[Token] = field(default_factory=list)
    prompt_logprobs: list[float] = field(default_factory=list)

    @property
    def end(self) -> End:
        """Why it is over. Raises GenerationError where it is not."""
        if not (self.tokens and self.tokens[-1].end):
            raise GenerationError("the answer has no end")
        return self.tokens[-1].end

    @property
    def text(self) -> str:
        """All text, a stop string and what came after it included; special tokens have none."""
        pieces = "".join(token.text for token in self.tokens if not token.special)
        return pieces + self.end.tail


async def collect(events: AsyncIterator[Event]) -> Answer:
    """All events of a request. Raises EngineError."""
    answer = Answer()
    async for event in events:
        match event:
            case PromptScores():
                answer.prompt_logprobs = event.logprobs
            case Token():
                answer.tokens.append(event)
    return answer


async def encode(engine: Engine, text: str) -> list[int]:
    """Tokens of a rendered prompt. None are added: a template brings its own, and scores must be of what was sent."""
    if not text:
        raise InvalidRequestError("`inputs` cannot be empty")
    encoding = await asyncio.to_thread(engine.tokenizer.backend_tokenizer.encode, text, add_special_tokens=False)
    ids: list[int] = encoding.ids
    return ids


def allowance(engine: Engine, prompt: list[int], wanted: int | None) -> int:
    """How many tokens an answer may have; without a wish, all there is room for. Raises InvalidRequestError."""
    room = engine.max_total_tokens - len(prompt)
    if room < 1 or (wanted is not None and wanted > room):
        asked = f"Given: {len(prompt)} `inputs` tokens and {wanted or 1} `max_new_tokens`"
        raise InvalidRequestError(f"`inputs` tokens + `max_new_tokens` must be <= {engine.max_total_tokens}. {asked}")
    return wanted if wanted is not None else room


def fresh_seed() -> int:
    """For requests that sample and bring none."""
    return secrets.randbits(32)
