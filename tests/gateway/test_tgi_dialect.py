"""The dialect of TGI before answers as TGI 3.3.7 gives them, word for word (tests/tgi holds them to the real one)."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_contracts.engines.tgi import ZERO_ADAPTER
from wardrobe_contracts.probes import Message
from wardrobe_gateway.engines import (
    ChatPrompt,
    EngineBusyError,
    EngineDownError,
    EngineGoneError,
    EngineRejectedError,
    EngineSilentError,
    StreamError,
    Token,
)
from wardrobe_gateway.engines.http import ANSWER_SECONDS, EngineHttp
from wardrobe_gateway.engines.tgi import TgiEngine

PREFILL = [{"id": 4, "text": "A", "logprob": None}, {"id": 5, "text": "b", "logprob": -1.5}]
TOKENS = [
    {"id": 7, "text": " c", "logprob": -0.25, "special": False},
    {"id": 1, "text": "<end>", "logprob": -0.5, "special": True},
]
DETAILS = {"finish_reason": "eos_token", "generated_tokens": 2, "seed": None, "prefill": PREFILL, "tokens": TOKENS}
ANSWER = {"generated_text": " c", "details": DETAILS}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def engine(handler: Handler, answer_seconds: float = ANSWER_SECONDS) -> AsyncIterator[TgiEngine]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as session:
            yield TgiEngine(EngineHttp(session, f"http://127.0.0.1:{port}", answer_seconds=answer_seconds))
    finally:
        await runner.cleanup()


def says(status: int, body: Any, content_type: str = "application/json") -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        await request.read()
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type=content_type)

    return handle


@pytest.mark.parametrize(("name", "asked"), [("a-v1-00000000", "a-v1-00000000"), (None, ZERO_ADAPTER)])
async def test_every_request_names_an_adapter_and_how_to_generate(name: str | None, asked: str) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.path, await request.json()))
        return web.json_response(ANSWER)

    async with engine(handle) as tgi:
        assert await tgi.score(name, "Ab") == [Token(4, None), Token(5, -1.5)]
        made = await tgi.generate(name, "Ab", 24)
    assert (made.text, made.tokens) == (" c", [Token(7, -0.25), Token(1, -0.5, special=True)])
    scored, generated = ({"inputs": sent["inputs"], **sent["parameters"]} for _, sent in seen)
    both = {"inputs": "Ab", "adapter_id": asked, "do_sample": False, "details": True}
    assert scored == {**both, "max_new_tokens": 1, "decoder_input_details": True}
    assert generated == {**both, "max_new_tokens": 24, "decoder_input_details": False}
    assert {path for path, _ in seen} == {"/generate"}


OVERLOADED = {"error": "Model is overloaded", "error_type": "overloaded"}
INVALID = {"error": "Input validation error: `inputs` cannot be empty", "error_type": "validation"}
DEAD = {"error": "Request failed during generation: Server error: transport error", "error_type": "generation"}


@pytest.mark.parametrize(
    ("handler", "error", "words"),
    [
        (says(429, OVERLOADED), EngineBusyError, "overloaded"),
        (says(422, INVALID), EngineRejectedError, "`inputs` cannot be empty"),
        (says(424, DEAD), EngineRejectedError, "transport error"),
        (says(503, {"error": "unhealthy", "error_type": "healthcheck"}), EngineDownError, "503 unhealthy"),
        (says(422, "Failed to deserialize the JSON body", "text/plain"), EngineRejectedError, "Failed to deserialize"),
        (says(404, "", "text/plain"), EngineRejectedError, "^$"),
        (says(500, "x" * 10_000, "text/plain"), EngineRejectedError, "x{500}$"),
        (says(200, "no JSON"), EngineRejectedError, "not understood"),
        (says(200, "null"), EngineRejectedError, "not understood"),
        (says(200, {"generated_text": "c"}), EngineRejectedError, "not understood"),
        (says(200, {"generated_text": "c", "details": 7}), EngineRejectedError, "not understood"),
        (
            says(200, {**ANSWER, "details": {**DETAILS, "prefill": [{"text": "A"}]}}),
            EngineRejectedError,
            "not understood",
        ),
        (says(200, {**ANSWER, "details": {**DETAILS, "prefill": []}}), EngineRejectedError, "ENABLE_PREFILL_LOGPROBS"),
    ],
)
async def test_what_tgi_answers_is_the_error_that_the_agent_knows(
    handler: Handler, error: type[Exception], words: str
) -> None:
    async with engine(handler) as tgi:
        with pytest.raises(error, match=words):
            await tgi.score("a-v1-00000000", "Ab")


async def test_an_engine_that_is_gone_silent_or_hangs_up_is_told_from_the_others() -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")

    async with engine(hang_up) as tgi:
        with pytest.raises(EngineDownError, match="POST /generate"):
            await tgi.generate("a-v1-00000000", "Ab", 1)
    with pytest.raises(EngineGoneError):
        await tgi.generate("a-v1-00000000", "Ab", 1)
    async with engine(trickle, answer_seconds=0.2) as tgi:
        with pytest.raises(EngineSilentError, match=r"no answer within 0\.2 s"):
            await tgi.generate("a-v1-00000000", "Ab", 1)


async def test_proxies_of_the_environment_are_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with engine(says(200, ANSWER)) as tgi:
        assert (await tgi.generate("a-v1-00000000", "Ab", 1)).text == " c"


async def test_a_chat_is_counted_by_its_usage_and_read_token_by_token() -> None:
    usage = {"usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}}
    tokens = [{"id": number, "text": "x", "start": 0, "stop": 1} for number in (7, 5)]
    read = {"tokenize_response": tokens, "templated_text": "xx"}

    async def handle(request: web.Request) -> web.Response:
        assert (await request.json())["messages"] == MESSAGES
        return web.json_response(read if request.path == "/chat_tokenize" else usage)

    async with engine(handle) as tgi:
        found = await tgi.chat_prompt("a-v1-00000000", [Message(role="user", content="Hello")])
    assert found == ChatPrompt(2, [7, 5])


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"error": "Model is overloaded", "error_type": "overloaded"}, StreamError(429, "Model is overloaded")),
        (
            {"error": {"message": "Model is overloaded", "http_status_code": 422}},
            StreamError(429, "Model is overloaded"),
        ),
        (INVALID, StreamError(422, INVALID["error"])),
        ({"error": {"message": INVALID["error"], "http_status_code": 422}}, StreamError(422, INVALID["error"])),
        (DEAD, StreamError(424, DEAD["error"])),
        ({"error": {"message": DEAD["error"], "http_status_code": 422}}, StreamError(424, DEAD["error"])),
        ({"index": 1, "token": TOKENS[0], "generated_text": None, "details": None}, None),
        ({"object": "chat.completion.chunk", "choices": []}, None),
        ([], None),
        ("error", None),
    ],
)
def test_the_first_event_of_a_stream_may_be_an_error(event: Any, error: StreamError | None) -> None:
    tgi = TgiEngine.__new__(TgiEngine)
    assert tgi.error_in(b"data: " + json.dumps(event).encode()) == error
    assert tgi.error_in(b"data:" + json.dumps(event).encode() + b"\n") == error
    assert tgi.error_in(b"data: [DONE]") is None


CHAT = ENGINES[EngineType.TGI].requests["/v1/chat/completions"]
TEXT = ENGINES[EngineType.TGI].requests["/generate"]
MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {}),
        ({"top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "n": 1, "user": "x"}, {}),
        ({"response_format": {"type": "text"}}, {}),
        ({"stop": []}, {}),
        ({"stop": None}, {}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        ({"max_tokens": 5, "max_completion_tokens": None}, {"max_tokens": 5}),
        ({"max_tokens": None, "max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        ({"top_p": 0.5, "temperature": 0}, {"top_p": 0.5, "temperature": 0}),
    ],
)
def test_a_chat_loses_what_tgi_would_misread(given: dict[str, Any], sent: dict[str, Any]) -> None:
    payload = {"model": "cardiology", "messages": MESSAGES, **given}
    assert CHAT.forbidden_in(payload) is None
    assert CHAT.prepared(payload) == {"model": "cardiology", "messages": MESSAGES, **sent}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, "response_format"),
        ({"tools": [{}]}, "tools"),
        ({"n": 2}, "n"),
        ({"stop": "END"}, "stop"),
        ({"stop": ["END"]}, "stop"),
    ],
)
def test_a_chat_may_not_ask_for_what_means_something_else_to_tgi(given: dict[str, Any], field: str) -> None:
    assert CHAT.forbidden_in({"model": "cardiology", "messages": MESSAGES, **given}) == field


@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        ({}, {"do_sample": False}),
        ({"parameters": {}}, {"do_sample": False}),
        ({"parameters": {"do_sample": True, "top_p": 1}}, {"do_sample": True}),
        ({"parameters": {"temperature": 1.0}}, {"temperature": 1.0, "do_sample": True}),
        ({"parameters": {"top_k": 5, "do_sample": None}}, {"top_k": 5, "do_sample": True}),
        ({"parameters": {"top_p": 1}}, {"do_sample": True}),
        ({"parameters": {"temperature": None}}, {"temperature": None, "do_sample": False}),
        ({"parameters": {"temperature": 0.5, "do_sample": False}}, {"temperature": 0.5, "do_sample": False}),
    ],
)
def test_a_text_is_greedy_unless_it_names_a_way_to_sample(given: dict[str, Any], parameters: dict[str, Any]) -> None:
    assert TEXT.prepared({"inputs": "Hello", **given}) == {"inputs": "Hello", "parameters": parameters}
