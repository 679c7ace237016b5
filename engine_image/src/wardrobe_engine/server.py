"""HTTP: TGI's paths, OpenAI's chat, vLLM's loading of adapters."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from . import chat, intake, tgi
from .adapters import Loaded
from .bodies import MAX_STOPS, Body, collect
from .engine import Engine
from .errors import BadAdapterError, EngineError, OverloadedError

ENGINE = web.AppKey("engine", Engine)
ADAPTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Frames = AsyncIterator[dict[str, Any]]


class LoadRequest(Body):
    """Body of `/v1/load_lora_adapter`, as vLLM takes it."""

    lora_name: str
    lora_path: str


class UnloadRequest(Body):
    """Body of `/v1/unload_lora_adapter`."""

    lora_name: str


def application(engine: Engine) -> web.Application:
    """The engine's HTTP interface."""
    app = web.Application(middlewares=[errors])
    app[ENGINE] = engine
    app.add_routes(
        [
            web.post("/", root),
            web.post("/generate", generate),
            web.post("/generate_stream", generate_stream),
            web.post("/v1/chat/completions", chat_completions),
            web.get("/v1/models", models),
            web.post("/v1/load_lora_adapter", load_adapter),
            web.post("/v1/unload_lora_adapter", unload_adapter),
            web.get("/health", health),
            web.get("/info", info),
            web.get("/metrics", metrics),
        ]
    )
    return app


def runner(app: web.Application, shutdown_seconds: float) -> web.AppRunner:
    """Serves an application. A client that goes away cancels its handler, and that its request."""
    # compressed bodies are refused: they are small where they enter, and large behind it
    return web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=shutdown_seconds, auto_decompress=False
    )


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """EngineErrors as JSON, in the form of the family that was asked."""
    try:
        return await handler(request)
    except EngineError as error:
        return web.json_response(error_body(request, error), status=error.status)


def error_body(request: web.Request, error: EngineError) -> dict[str, Any]:
    """OpenAI's form under /v1, TGI's elsewhere."""
    if request.path.startswith("/v1/"):
        return {"error": {"message": str(error), "type": error.kind, "param": None, "code": error.status}}
    return {"error": str(error), "error_type": error.kind}


@asynccontextmanager
async def _admitted(request: web.Request) -> AsyncIterator[bytes]:
    """The body of a request for an answer, which has a place meanwhile. Raises EngineError."""
    engine = request.app[ENGINE]
    try:
        with engine.places.take(intake.announced(request)):
            yield await intake.read(request, engine.deadlines.body)
    except OverloadedError as error:
        engine.metrics.requests.labels(error.kind).inc()
        raise


async def root(request: web.Request) -> web.StreamResponse:
    """What huggingface_hub's text_generation calls: `/generate` in a list, or `/generate_stream`."""
    async with _admitted(request) as data:
        body = tgi.RootRequest.parse(data)
        if body.stream:
            return await _stream_tgi(request, body)
        return web.json_response([await _generate(request, body)])


async def generate(request: web.Request) -> web.StreamResponse:
    """One whole answer, with scores where asked for."""
    async with _admitted(request) as data:
        return web.json_response(await _generate(request, tgi.GenerateRequest.parse(data)))


async def generate_stream(request: web.Request) -> web.StreamResponse:
    """One answer, an event per token."""
    async with _admitted(request) as data:
        return await _stream_tgi(request, tgi.GenerateRequest.parse(data))


async def _generate(request: web.Request, body: tgi.GenerateRequest) -> dict[str, Any]:
    engine = request.app[ENGINE]
    order = await tgi.prepare(engine, body, stream=False)
    async with aclosing(engine.generate(order)) as events:
        return tgi.answer(engine, body, order, await collect(events))


async def _stream_tgi(request: web.Request, body: tgi.GenerateRequest) -> web.StreamResponse:
    engine = request.app[ENGINE]
    order = await tgi.prepare(engine, body, stream=True)
    async with aclosing(engine.generate(order)) as events:
        return await _stream(request, tgi.frames(body, order, events), "data:")


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """A turn of a conversation."""
    async with _admitted(request) as data:
        engine = request.app[ENGINE]
        body = chat.ChatRequest.parse(data)
        order = await chat.prepare(engine, body)
        async with aclosing(engine.generate(order)) as events:
            if body.stream:
                return await _stream(request, chat.frames(body, order, events), "data: ", last="data: [DONE]\n\n")
            return web.json_response(chat.answer(body, order, await collect(events)))


async def _stream(request: web.Request, frames: Frames, prefix: str, last: str = "") -> web.StreamResponse:
    """Server-sent events. Headers wait for the first frame, so that until then an error has its own status."""
    first = await anext(frames)
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    await _write(request, response, _event(first, prefix))
    try:
        async for frame in frames:
            await _write(request, response, _event(frame, prefix))
        await _write(request, response, last.encode())
    except EngineError as error:
        await _write(request, response, _event(error_body(request, error), prefix))
    return response


async def _write(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Raises ConnectionResetError where the client has not read for long; its request ends with that."""
    try:
        async with asyncio.timeout(request.app[ENGINE].deadlines.write):
            await response.write(piece)
    except TimeoutError as error:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read") from error


def _event(frame: dict[str, Any], prefix: str) -> bytes:
    return f"{prefix}{json.dumps(frame, ensure_ascii=False)}\n\n".encode()


async def models(request: web.Request) -> web.Response:
    """What `model` may name: the base first, then the adapters."""
    engine = request.app[ENGINE]
    base = engine.options.base_name
    listed = [_model(base, engine.options.model, None)]
    listed += [_model(adapter.name, adapter.path, base) for adapter in engine.adapters()]
    return web.json_response({"object": "list", "data": listed})


def _model(name: str, root: Path, parent: str | None) -> dict[str, Any]:
    return {"id": name, "object": "model", "owned_by": "wardrobe", "root": str(root), "parent": parent}


async def load_adapter(request: web.Request) -> web.Response:
    """Make an adapter available under a new name."""
    engine = request.app[ENGINE]
    body = LoadRequest.parse(await intake.read(request, engine.deadlines.body))
    if not ADAPTER_NAME.fullmatch(body.lora_name) or body.lora_name == engine.options.base_name:
        raise BadAdapterError(f"'{body.lora_name}' cannot be an adapter's name")
    await engine.load(body.lora_name, Path(body.lora_path))
    log.info("loaded %s from %s", body.lora_name, body.lora_path)
    return web.Response(text=f"Success: LoRA adapter '{body.lora_name}' added successfully.")


async def unload_adapter(request: web.Request) -> web.Response:
    """Drop an adapter; answers when its last request has finished."""
    engine = request.app[ENGINE]
    body = UnloadRequest.parse(await intake.read(request, engine.deadlines.body))
    await engine.unload(body.lora_name)
    log.info("unloaded %s", body.lora_name)
    return web.Response(text=f"Success: LoRA adapter '{body.lora_name}' removed successfully.")


async def health(request: web.Request) -> web.Response:
    """200 while the model's thread takes its steps."""
    if trouble := request.app[ENGINE].trouble():
        return web.json_response({"error": trouble, "error_type": "healthcheck"}, status=503)
    return web.Response()


async def info(request: web.Request) -> web.Response:
    """TGI's facts, and those it does not tell: quantization and adapters."""
    engine = request.app[ENGINE]
    options = engine.options
    return web.json_response(
        {
            "model_id": options.base_name,
            "model_pipeline_tag": "text-generation",
            "model_device_type": engine.device,
            "max_concurrent_requests": engine.limit,
            "max_best_of": 1,
            "max_stop_sequences": MAX_STOPS,
            "max_input_tokens": engine.max_total_tokens - 1,
            "max_total_tokens": engine.max_total_tokens,
            "max_batch_size": options.max_batch,
            "max_batch_total_tokens": options.max_batch_total_tokens,
            "router": "wardrobe-engine",
            "version": version("wardrobe-engine"),
            "quantization": options.quantization.value,
            "adapters": [_adapter(one) for one in engine.adapters()],
            "leaving": [_adapter(one) for one in engine.leaving()],
        }
    )


def _adapter(loaded: Loaded) -> dict[str, Any]:
    return {"name": loaded.name, "path": str(loaded.path), "rank": loaded.rank}


async def metrics(request: web.Request) -> web.Response:
    """Prometheus metrics."""
    engine = request.app[ENGINE]
    engine.metrics.adapters.set(len(engine.adapters()))
    return web.Response(body=engine.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})
