"""The router: TGI's HTTP, with its statuses, bodies, headers and frames."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from aiohttp import web

from . import rendering
from .facts import BODY_BYTES, COMPUTE_TYPE, VERSION
from .metrics import Metrics
from .prompts import Prompts
from .rendering import Answer
from .requests import Asked, ShapeError, TgiError, for_shard, invalid, of_openai, of_text
from .settings import Settings
from .wire import GenerationError, Shard

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Router:
    """Listens until it is closed."""

    def __init__(self, settings: Settings, shard: Shard) -> None:
        self._settings = settings
        self._shard = shard
        self._prompts = Prompts(settings.model)
        self._free = settings.max_concurrent_requests
        self._metrics = Metrics(settings.max_input_tokens, settings.max_total_tokens)
        self._model = str(settings.model)
        self._site: web.TCPSite | None = None
        self._left = asyncio.Event()
        """Set whenever a request is over."""
        self._runner = web.AppRunner(self._app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.05)

    async def listen(self) -> None:
        """Take requests."""
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        await self._site.start()

    async def close(self, seconds: float) -> None:
        """Take no more requests at once, and let those that run finish for so long; then cut them off."""
        assert self._site is not None
        await self._site.stop()
        assert self._runner.server is not None  # it is set up
        self._runner.server.pre_shutdown()  # connections without a request
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._free < self._settings.max_concurrent_requests:
                    self._left.clear()
                    await self._left.wait()
        await self._runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_BYTES, middlewares=[_with_errors])
        for path in ("/health", "/ping", "/"):
            app.router.add_get(path, self._health)
        app.router.add_get("/info", self._info)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_post("/generate", self._generate)
        app.router.add_post("/generate_stream", self._generate_stream)
        app.router.add_post("/", self._root)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/chat_tokenize", self._chat_tokenize)
        return app

    async def _health(self, _: web.Request) -> web.Response:
        if self._shard.healthy:
            return web.Response()
        return web.json_response({"error": "unhealthy", "error_type": "healthcheck"}, status=503)

    async def _info(self, _: web.Request) -> web.Response:
        said = {
            "model_id": self._model,
            "model_sha": None,
            "model_pipeline_tag": None,
            "max_concurrent_requests": self._settings.max_concurrent_requests,
            "max_input_tokens": self._settings.max_input_tokens,
            "max_total_tokens": self._settings.max_total_tokens,
            "router": "text-generation-router",
            "version": VERSION,
            "docker_label": None,
        }
        return web.json_response(said)

    async def _models(self, _: web.Request) -> web.Response:
        model = {"id": self._model, "object": "model", "created": 0, "owned_by": self._model}
        return web.json_response({"object": "list", "data": [model]})

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self._metrics.text())

    async def _tokenize(self, request: web.Request) -> web.Response:
        asked = of_text(await _body(request))
        ids = self._prompts.ids(asked.inputs, special=True)
        return web.json_response([{"id": token, "text": self._prompts.text(token)} for token in ids])

    async def _chat_tokenize(self, request: web.Request) -> web.Response:
        text = self._prompts.chat((await _body(request))["messages"])
        ids = self._prompts.ids(text, special=False)
        tokens = [{"id": token, "text": self._prompts.text(token)} for token in ids]
        return web.json_response({"tokenize_response": tokens, "templated_text": text})

    async def _generate(self, request: web.Request) -> web.Response:
        asked = of_text(await _body(request))
        answer = await self._whole(asked)
        return web.json_response(rendering.text(asked, answer), headers=answer.headers(asked))

    async def _root(self, request: web.Request) -> web.Response:
        """As `/generate`, in a list and with the prompt before the answer."""
        asked = of_text(await _body(request))
        asked.full_text = True
        answer = await self._whole(asked)
        return web.json_response([rendering.text(asked, answer)], headers=answer.headers(asked))

    async def _generate_stream(self, request: web.Request) -> web.StreamResponse:
        asked = of_text(await _body(request))
        return await self._stream(
            request, asked, lambda answer: rendering.text_frame(asked, answer), rendering.text_error
        )

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        messages = body.get("messages")
        if not isinstance(messages, list):
            raise ShapeError("Failed to deserialize the JSON body into the target type: missing field `messages`")
        asked = of_openai(body, "", chat=True)
        if body.get("response_format") and body.get("tools"):
            raise TgiError(422, "tool_error", "Tool error: Grammar and tools are mutually exclusive")
        asked.inputs = self._prompts.chat(messages)
        named = str(body.get("model") or self._model)
        if body.get("stream"):
            usage = bool((body.get("stream_options") or {}).get("include_usage"))
            return await self._stream(
                request,
                asked,
                lambda answer: rendering.chat_frame(named, answer, usage=usage),
                rendering.openai_error,
                done=True,
            )
        answer = await self._whole(asked)
        return web.json_response(rendering.chat(named, answer), headers=answer.headers(asked))

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        """The base's name in every answer (server.rs:1107), whoever was asked."""
        body = await _body(request)
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise ShapeError("Failed to deserialize the JSON body into the target type: missing field `prompt`")
        asked = of_openai(body, prompt, chat=False)
        if body.get("stream"):
            return await self._stream(
                request,
                asked,
                lambda answer: rendering.completion_frame(self._model, answer),
                rendering.openai_error,
                done=True,
            )
        answer = await self._whole(asked)
        return web.json_response(rendering.completion(self._model, answer), headers=answer.headers(asked))

    async def _whole(self, asked: Asked) -> Answer:
        async with aclosing(self._answers(asked)) as answers:
            return [answer async for answer in answers][-1]

    async def _answers(self, asked: Asked) -> AsyncGenerator[Answer]:
        """The answer as it grows. Raises TgiError."""
        self._metrics.asked()
        ids = self._prompts.ids(asked.inputs, special=asked.special)
        answer = Answer(len(ids))
        try:
            if self._free <= 0:
                raise TgiError(429, "overloaded", "Model is overloaded")
            limits = self._settings.max_total_tokens, self._settings.max_input_tokens
            request = for_shard(asked, ids, *limits, scored=self._settings.prefill_logprobs)
            self._free -= 1
            self._metrics.began(len(ids), request["max"])
            try:
                async with aclosing(self._shard.generate(request)) as said:
                    async for one in said:
                        answer.take(one, [self._prompts.text(token) for token in ids] if "prefill" in one else [], ids)
                        if "token" in one:
                            self._metrics.step("decode" if answer.tokens[1:] else "prefill", answer.step())
                            yield answer
            finally:
                self._free += 1
                self._metrics.over()
                self._left.set()
            self._metrics.answered(time.monotonic() - answer.began, len(answer.tokens))
        except GenerationError as error:
            self._metrics.failed("generation")
            raise TgiError(424, "generation", f"Request failed during generation: {error}") from error
        except TgiError as error:
            self._metrics.failed(error.kind)
            raise
        except (GeneratorExit, asyncio.CancelledError):
            if not answer.end:
                self._metrics.failed("dropped")
            raise

    async def _stream(
        self,
        request: web.Request,
        asked: Asked,
        frames: Callable[[Answer], list[dict[str, Any]]],
        error_frame: Callable[[TgiError], dict[str, Any]],
        *,
        done: bool = False,
    ) -> web.StreamResponse:
        """Whatever goes wrong is said in a frame, after the status 200 (seen)."""
        headers = {
            "x-compute-type": COMPUTE_TYPE,
            "x-compute-characters": str(len(asked.inputs)),
            "x-accel-buffering": "no",
        }
        response = web.StreamResponse(
            headers={**headers, "content-type": "text/event-stream", "cache-control": "no-cache"}
        )
        await response.prepare(request)
        try:
            if asked.prefill and not done:
                raise invalid("`decoder_input_details` is not supported when streaming tokens")
            async with aclosing(self._answers(asked)) as answers:
                async for answer in answers:
                    for frame in frames(answer):
                        await response.write(_event(frame))
        except TgiError as error:
            await response.write(_event(error_frame(error)))
        if done:
            await response.write(b"data: [DONE]\n\n")
        return response


def _event(frame: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(frame, separators=(",", ":")).encode() + b"\n\n"


async def _body(request: web.Request) -> dict[str, Any]:
    if not request.content_type.endswith("json"):
        raise web.HTTPUnsupportedMediaType(text="Expected request with `Content-Type: application/json`")
    try:
        body = json.loads(await request.read())
    except web.HTTPRequestEntityTooLarge as error:
        text = "Failed to buffer the request body: length limit exceeded"
        raise web.HTTPRequestEntityTooLarge(BODY_BYTES, BODY_BYTES, text=text) from error
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"Failed to parse the request body as JSON: {error}") from error
    if not isinstance(body, dict):
        raise ShapeError("Failed to deserialize the JSON body into the target type: invalid type")
    return body


@web.middleware
async def _with_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ShapeError as error:
        return web.Response(status=422, text=str(error))
    except TgiError as error:
        return web.json_response({"error": str(error), "error_type": error.kind}, status=error.status)
