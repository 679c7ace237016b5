"""Text Generation Inference's requests and answers."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from pydantic import Field

from .bodies import MAX_STOPS, Answer, Body, Count, Name, Seed, Stop, allowance, fresh_seed
from .engine import Engine
from .errors import InvalidRequestError
from .generation import Event, Generation, Sampling, Token


class Parameters(Body):
    """The parameters of TGI that are acted upon here."""

    adapter_id: Name | None = None
    max_new_tokens: Count | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, Field(gt=0)] | None = None
    top_k: Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Seed | None = None
    stop: Annotated[list[Stop], Field(max_length=MAX_STOPS, fail_fast=True)] | None = None
    return_full_text: bool | None = None
    details: bool | None = None
    decoder_input_details: bool | None = None

    def sampling(self) -> Sampling | None:
        """As in TGI, naming a way to sample means to sample, even without do_sample."""
        if not (self.do_sample or self.temperature or self.top_k or self.top_p):
            return None
        seed = self.seed if self.seed is not None else fresh_seed()
        return Sampling(seed, self.temperature or 1.0, self.top_k, self.top_p)


class GenerateRequest(Body):
    """Body of `/generate` and `/generate_stream`."""

    inputs: str
    """Sent to the model as it is: no template, no added tokens."""
    parameters: Parameters = Parameters()


class RootRequest(GenerateRequest):
    """Body of `/`, which is both."""

    stream: bool = False


async def prepare(engine: Engine, body: GenerateRequest, *, stream: bool) -> Generation:
    """The request as the model's thread takes it. Raises InvalidRequestError."""
    parameters = body.parameters
    if parameters.decoder_input_details and (stream or not parameters.details):
        raise InvalidRequestError("`decoder_input_details` needs `details` and is not supported when streaming")
    if not body.inputs:
        raise InvalidRequestError("`inputs` cannot be empty")
    prompt = await engine.prompts.of_text(body.inputs)
    return Generation(
        prompt=prompt,
        adapter=None if parameters.adapter_id in (None, "", engine.options.base_name) else parameters.adapter_id,
        max_new_tokens=allowance(engine, prompt, parameters.max_new_tokens),
        sampling=parameters.sampling(),
        stop=tuple(parameters.stop or ()),
        score_prompt=bool(parameters.decoder_input_details),
    )


def answer(engine: Engine, body: GenerateRequest, request: Generation, given: Answer) -> dict[str, Any]:
    """The whole answer as JSON."""
    rendered: dict[str, Any] = {"generated_text": _full_text(body, given)}
    if body.parameters.details:
        rendered["details"] = {
            **_end(request, given),
            "prefill": _prefill(engine, request, given.prompt_logprobs),
            "tokens": [_token(token) for token in given.tokens],
        }
    return rendered


async def frames(
    body: GenerateRequest, request: Generation, events: AsyncIterator[Event]
) -> AsyncIterator[dict[str, Any]]:
    """The streamed answer: one frame per token, the last with the whole text."""
    given = Answer()
    async for event in events:
        if isinstance(event, Token):
            given.tokens.append(event)
            yield _frame(body, request, given, event)


def _frame(body: GenerateRequest, request: Generation, given: Answer, token: Token) -> dict[str, Any]:
    frame = {"index": len(given.tokens), "token": _token(token), "top_tokens": []}
    if token.end is None:
        return {**frame, "generated_text": None, "details": None}
    details = {**_end(request, given), "input_length": len(request.prompt)} if body.parameters.details else None
    return {**frame, "generated_text": _full_text(body, given), "details": details}


def _full_text(body: GenerateRequest, given: Answer) -> str:
    """As TGI does, a stop string stays in the text, and nothing after it."""
    kept = given.text[: given.end.cut[1]] if given.end.cut else given.text
    return body.inputs + kept if body.parameters.return_full_text else kept


def _end(request: Generation, given: Answer) -> dict[str, Any]:
    return {
        "finish_reason": given.end.reason.value,
        "generated_tokens": len(given.tokens),
        "seed": request.sampling.seed if request.sampling else None,
    }


def _token(token: Token) -> dict[str, Any]:
    return {"id": token.id, "text": token.text, "logprob": token.logprob, "special": token.special}


def _prefill(engine: Engine, request: Generation, logprobs: list[float]) -> list[dict[str, Any]]:
    """Scores of the prompt's tokens; the first has none, since nothing is before it."""
    if not request.score_prompt:
        return []
    decode = engine.chat.backend.decode
    scored = zip(request.prompt, [None, *logprobs], strict=True)
    return [{"id": id_, "text": decode([id_], skip_special_tokens=False), "logprob": value} for id_, value in scored]
