"""OpenAI's chat completions."""

import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import Field

from .bodies import MAX_STOPS, Answer, Body, Count, Name, Seed, Stop, allowance, fresh_seed
from .engine import Engine
from .errors import InvalidRequestError
from .generation import End, Event, FinishReason, Generation, Sampling, Token
from .text import StopFinder

FINGERPRINT = "wardrobe-engine"


class TextPart(Body):
    """Part of a message's content."""

    type: Literal["text"]
    text: str


class Message(Body):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(fail_fast=True)]

    def plain(self) -> dict[str, str]:
        """As templates expect it."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": content}


class StreamOptions(Body):
    """What a stream shall tell beside the answer."""

    include_usage: bool = False


class ChatRequest(Body):
    """Body of `/v1/chat/completions`: what is acted upon here."""

    model: Name
    """An adapter's name, or the base's."""
    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """0 takes the likeliest token each time; OpenAI's default is 1."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Seed | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS, fail_fast=True)] | None = None

    def sampling(self) -> Sampling | None:
        """How to draw."""
        if self.temperature == 0:
            return None
        seed = self.seed if self.seed is not None else fresh_seed()
        return Sampling(seed, 1.0 if self.temperature is None else self.temperature, top_p=self.top_p)

    def stops(self) -> tuple[str, ...]:
        """The stop strings, however many."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


async def prepare(engine: Engine, body: ChatRequest) -> Generation:
    """The request as the model's thread takes it. Raises InvalidRequestError or TemplateError."""
    if body.max_tokens and body.max_completion_tokens:
        raise InvalidRequestError("max_tokens and max_completion_tokens are the same thing: give one")
    prompt = await engine.prompts.of_chat([message.plain() for message in body.messages])
    return Generation(
        prompt=prompt,
        adapter=None if body.model == engine.options.base_name else body.model,
        max_new_tokens=allowance(engine, prompt, body.max_completion_tokens or body.max_tokens),
        sampling=body.sampling(),
        stop=body.stops(),
    )


def answer(body: ChatRequest, request: Generation, given: Answer) -> dict[str, Any]:
    """The whole answer as JSON."""
    text = given.text[: given.end.cut[0]] if given.end.cut else given.text
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "logprobs": None,
        "finish_reason": _reason(given.end),
    }
    return {
        **_head(body, "chat.completion"),
        "choices": [choice],
        "usage": _usage(request, len(given.tokens)),
    }


async def frames(body: ChatRequest, request: Generation, events: AsyncIterator[Event]) -> AsyncIterator[dict[str, Any]]:
    """The streamed answer as chunks. Text that could be the beginning of a stop string is held back."""
    usage = body.stream_options is not None and body.stream_options.include_usage
    head = {**_head(body, "chat.completion.chunk"), **({"usage": None} if usage else {})}
    text, generated = StreamedText(request.stop), 0
    async for event in events:
        if not isinstance(event, Token):
            continue
        generated += 1
        if generated == 1:
            yield {**head, "choices": [_delta({"role": "assistant", "content": ""})]}
        if piece := text.push(event):
            yield {**head, "choices": [_delta({"content": piece})]}
        if event.end:
            yield {**head, "choices": [_delta({}, _reason(event.end))]}
    if usage:
        yield {**head, "choices": [], "usage": _usage(request, generated)}


class StreamedText:
    """Answer text, given out as soon as no stop string can begin in it."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._finder = StopFinder(stop)
        self._text = ""
        self._given = 0

    def push(self, token: Token) -> str:
        """What may be shown now and was not before."""
        piece = "" if token.special else token.text
        if token.end:
            self._text += piece + token.end.tail
            return self._until(token.end.cut[0] if token.end.cut else len(self._text))
        self._text += piece
        self._finder.push(piece)
        return self._until(self._finder.settled())

    def _until(self, position: int) -> str:
        start, self._given = self._given, max(position, self._given)
        return self._text[start : self._given]


def _head(body: ChatRequest, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": body.model,
        "system_fingerprint": FINGERPRINT,
    }


def _delta(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _reason(end: End) -> str:
    return "length" if end.reason is FinishReason.LENGTH else "stop"


def _usage(request: Generation, generated: int) -> dict[str, int]:
    """Tokens, the end token included."""
    prompt = len(request.prompt)
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}
