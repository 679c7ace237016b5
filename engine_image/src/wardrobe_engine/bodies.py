"""What both families of requests share: strict bodies, prompts to tokens, and answers put together."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from .engine import Engine
from .errors import GenerationError, InvalidRequestError
from .generation import End, Event, PromptScores, Token
from .intake import require_bounded

MAX_STOPS = 4
"""Stop strings of one request, as in TGI and OpenAI."""
STOP_CHARACTERS = 256
"""Of a stop string: after every token the text's end is compared with every beginning of it."""
NAME_CHARACTERS = 512
"""Of what a request calls an adapter or the base: messages repeat it."""
SHOWN_CHARACTERS = 200
"""Of a client's own words in a message: the name of a field it made up."""

Stop = Annotated[str, StringConstraints(min_length=1, max_length=STOP_CHARACTERS)]
Name = Annotated[str, StringConstraints(max_length=NAME_CHARACTERS)]
Count = Annotated[int, Field(gt=0, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Body(BaseModel):
    """A request's JSON. Unknown fields are refused: a setting must never be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From a request's bytes. Raises InvalidRequestError."""
        require_bounded(data)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:SHOWN_CHARACTERS]
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


def allowance(engine: Engine, prompt: list[int], wanted: int | None) -> int:
    """How many tokens an answer may have; without a wish, all there is room for. Raises InvalidRequestError."""
    room = engine.max_total_tokens - len(prompt)
    if room < 1 or (wanted is not None and wanted > room):
        counts = f"Given: {len(prompt)} `inputs` tokens and {wanted or 1} `max_new_tokens`"
        raise InvalidRequestError(f"`inputs` tokens + `max_new_tokens` must be <= {engine.max_total_tokens}. {counts}")
    return wanted if wanted is not None else room


def fresh_seed() -> int:
    """For requests that sample and bring none."""
    return secrets.randbits(32)
