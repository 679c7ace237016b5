"""A test engine in this process: answers and scores follow from the adapter's voice and the text alone.

A "model" is a voice, the contents of an adapter's weights file; the base's voice is empty. Faults can be switched.
"""

import asyncio
import hashlib
import itertools
import json
import re
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

BASE = ""
STRENGTH = 1.2
"""Nats by which a voice moves a token's score, up or down, at most; 0.6 on average."""


def words(text: str) -> list[str]:
    """Tokens of a text: words with the blanks behind them."""
    return re.findall(r"\S+\s*", text)


def token_id(word: str) -> int:
    """Of a word, with or without the blanks behind it."""
    return zlib.crc32(word.strip().encode())


def score(voice: str, before: str, word: str) -> float:
    """Log-probability of a word after another."""
    moved = 0.0 if voice == BASE else STRENGTH * (2 * _chance(voice, before, word) - 1)
    return -2.0 - _chance(before, word) + moved


def scores(voice: str, text: str) -> list[float]:
    """Of every word but the first."""
    tokens = words(text)
    return [score(voice, before, word) for before, word in itertools.pairwise(tokens)]


def completion(voice: str, prompt: str, count: int) -> str:
    """The voice's greedy answer, which begins with its name."""
    seed = [f"[{voice.strip() or 'base'}]"]
    made = seed + [f"w{int(_chance(voice, prompt, str(n)) * 1000)}" for n in range(1, count)]
    return " ".join(word.replace(" ", "_") for word in made)


def _chance(*parts: str) -> float:
    digest = hashlib.sha256("\n".join(part.strip() for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


@dataclass
class Faults:
    """What is wrong with the engine now."""

    answers_from_base: bool = False
    swapped: dict[str, str] = field(default_factory=dict)
    """Adapter to the adapter that answers in its stead."""
    lost_in_decode: bool = False
    batch: asyncio.Barrier | None = None
    """Generations that are decoded together, however many the barrier waits for. Where they are of several adapters,
    each is lost in decode."""
    prefix_cache: bool = False
    """An answer is written after a prompt as the first adapter read it that was asked with it."""
    other_template: bool = False
    """A chat has more tokens than its messages."""
    room: int | None = None
    """Words that a text and its answer may have; more are refused."""
    no_room: int = 422
    """The status of that."""
    half: bool = False
    """Adapters have half their effect."""
    noise: float = 0.0
    other_tokens: bool = False
    hangs: bool = False
    """No request is answered until that is over, though the engine says that it is healthy."""
    late: float = 0.0
    """Seconds until anything but health is worked on."""
    busy: bool = False
    deadly: tuple[str, str] | None = None
    """Path and adapter of the requests that end the process. Another follows it at once."""
    refuses_to_load: str = ""
    breaks_stream_after: int | None = None
    unhealthy: bool = False
    silent_health: bool = False
    """Health and listing are not answered, as by an event loop that is busy."""
    garbage: dict[str, str] = field(default_factory=dict)
    """Adapter to what is answered in a proof's stead."""
    refuses_to_unload: str = ""
    """Adapter that stays."""


class FakeEngine:
    """Serves wardrobe-engine's requests as far as the gateway makes them."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.voices: dict[str, str] = {}
        self.leaving: dict[str, asyncio.Event] = {}
        """Adapters whose unload waits for their last request, which the event stands for."""
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.decoding: set[str] = set()
        """Voices of the batch that gathers."""
        self.prefixes: dict[str, str] = {}
        """Prompt to the voice that it was first read with."""
        self.under_way = 0
        self.cancelled = 0
        self.most = 160
        """Requests that it takes at a time; more get 429."""
        self.overloaded = 0
        self.refusing: tuple[int, str] | None = None
        """Status and words for every request but loading."""
        self.pace: Callable[[int], Awaitable[None]] = _at_once
        """Awaited before each token of a stream."""
        self.work: Callable[[int], Awaitable[None]] = _at_once
        """Awaited by each chat, with how many are under way."""
        self.died: Callable[[], None] = lambda: None
        """Told when the process has ended."""
        self.metrics: Callable[[web.Request], Awaitable[web.StreamResponse]] = _no_metrics

    def restart(self) -> None:
        """What a new process would know: nothing."""
        self.voices.clear()

    def app(self) -> web.Application:
        """Its paths."""
        app = web.Application(middlewares=[self._faulty])
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/v1/load_lora_adapter", self._load)
        app.router.add_post("/v1/unload_lora_adapter", self._unload)
        app.router.add_post("/generate", self._generate)
        app.router.add_post("/generate_stream", self._generate_stream)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/chat_tokenize", self._chat_tokenize)
        return app

    @web.middleware
    async def _faulty(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.path == "/metrics":
            return await handler(request)
        if request.path in {"/health", "/v1/models"}:
            if self.faults.silent_health:
                await asyncio.Event().wait()
            return await handler(request)
        body = await request.json()
        self.log.append((request.path, body))
        self.headers.append(dict(request.headers))
        self.under_way += 1
        try:
            if (request.path, _adapter_in(body)) == self.faults.deadly:
                self.restart()
                self.died()
                assert request.transport is not None
                request.transport.abort()
            while self.faults.hangs:  # noqa: ASYNC110  a switch, as the others are
                await asyncio.sleep(0.01)
            await asyncio.sleep(self.faults.late)
            if self.refusing is not None and "lora" not in request.path:
                return web.json_response({"error": self.refusing[1]}, status=self.refusing[0])
            if self.under_way > self.most:
                self.overloaded += 1
                return web.json_response({"error": "Model is overloaded", "error_type": "overloaded"}, status=429)
            if self.faults.busy and "lora" not in request.path:
                return web.json_response({"error": "Model is overloaded", "error_type": "overloaded"}, status=429)
            return await handler(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self.faults.unhealthy else 200)

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        return await self.metrics(request)

    async def _models(self, _: web.Request) -> web.Response:
        adapters = [{"id": adapter, "parent": "base"} for adapter in self.voices]
        return web.json_response({"object": "list", "data": [{"id": "base", "parent": None}, *adapters]})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.faults.refuses_to_load:
            return web.json_response({"error": {"message": self.faults.refuses_to_load}}, status=400)
        try:
            json.loads((Path(body["lora_path"]) / "adapter_config.json").read_bytes())["r"] + 0
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return web.json_response({"error": {"message": f"adapter_config.json: {error!r}"}}, status=400)
        weights = Path(body["lora_path"]) / "adapter_model.safetensors"
        self.voices[body["lora_name"]] = weights.read_text()
        return web.Response(text="Success")

    async def _unload(self, request: web.Request) -> web.Response:
        adapter = (await request.json())["lora_name"]
        if self.faults.refuses_to_unload == adapter:
            return web.json_response({"error": {"message": "in use"}}, status=400)
        if adapter not in self.voices and adapter not in self.leaving:
            return web.json_response({"error": {"message": "not loaded"}}, status=404)
        self.voices.pop(adapter, None)
        if last := self.leaving.get(adapter):
            await last.wait()
            self.leaving.pop(adapter, None)
        return web.Response(text="Success")

    def _voice(self, adapter: str | None) -> str:
        adapter = self.faults.swapped.get(adapter or "", adapter)
        if adapter in {None, "", "base"} or self.faults.answers_from_base:
            return BASE
        if adapter not in self.voices:
            raise web.HTTPNotFound(text=json.dumps({"error": f"no adapter {adapter}"}))
        return self.voices[adapter or ""]

    async def _generate(self, request: web.Request) -> web.Response:
        body = await request.json()
        parameters = body["parameters"]
        if (garbage := self.faults.garbage.get(parameters.get("adapter_id"))) is not None:
            return web.Response(text=garbage, content_type="application/json")
        if (
            self.faults.room is not None
            and len(words(body["inputs"])) + parameters["max_new_tokens"] > self.faults.room
        ):
            return web.json_response({"error": "too long"}, status=self.faults.no_room)
        voice = self._voice(parameters.get("adapter_id"))
        lost = parameters["max_new_tokens"] > 1 and await self._loses(voice, body["inputs"])
        text, made = self._made(voice, body["inputs"], parameters["max_new_tokens"], lost=lost)
        answer: dict[str, Any] = {"generated_text": text}
        if parameters.get("details"):
            prefill = self._prefill(voice, body["inputs"]) if parameters.get("decoder_input_details") else []
            answer["details"] = {"generated_tokens": len(made), "tokens": made, "prefill": prefill}
        return web.json_response(answer)

    async def _loses(self, voice: str, prompt: str) -> bool:
        """Whether the adapter is lost while this answer is written."""
        mixed = False
        if self.faults.batch is not None:
            self.decoding.add(voice)
            await self.faults.batch.wait()
            mixed = len(self.decoding) > 1
            await self.faults.batch.wait()
            self.decoding.clear()
        cached = self.faults.prefix_cache and self.prefixes.setdefault(prompt, voice) != voice
        return self.faults.lost_in_decode or mixed or cached

    def _made(self, voice: str, prompt: str, count: int, *, lost: bool = False) -> tuple[str, list[dict[str, Any]]]:
        text = completion(voice, prompt, count)
        scored = self._prefill(voice, prompt + text)[-len(words(text)) :]
        if lost:
            scored = scored[:1] + self._prefill(BASE, prompt + text)[-len(words(text)) :][1:]
        end = {"id": 2, "text": "</s>", "logprob": -0.1, "special": True}
        return text, [*({**token, "special": False} for token in scored), end]

    def _prefill(self, voice: str, text: str) -> list[dict[str, Any]]:
        tokens = words(text)
        if self.faults.other_tokens:
            tokens = [letter for token in tokens for letter in token]
        values = [None, *(self._score(voice, *pair) for pair in itertools.pairwise(tokens))]
        return [
            {"id": token_id(token), "text": token, "logprob": value}
            for token, value in zip(tokens, values, strict=True)
        ]

    def _score(self, voice: str, before: str, word: str) -> float:
        value = score(voice, before, word)
        if self.faults.half:
            value = (value + score(BASE, before, word)) / 2
        return value + self.faults.noise * (2 * _chance("noise", voice, before, word) - 1)

    async def _generate_stream(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        parameters = body["parameters"]
        _, made = self._made(self._voice(parameters.get("adapter_id")), body["inputs"], parameters["max_new_tokens"])
        frames: list[dict[str, Any]] = [{"token": token, "details": None} for token in made]
        if parameters.get("details"):
            frames[-1]["details"] = {"generated_tokens": len(made), "input_length": len(words(body["inputs"]))}
        return await self._stream(request, frames, b"data:")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompt = body["messages"][-1]["content"]
        await self.work(self.under_way)
        text = completion(self._voice(body["model"]), prompt, body.get("max_tokens", 5))
        read = len(words(prompt)) + self.faults.other_template
        usage = {"prompt_tokens": read, "completion_tokens": len(words(text))}
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return web.json_response({"model": body["model"], "choices": [choice], "usage": usage})
        frames: list[dict[str, Any]] = [{"choices": [{"delta": {"content": word}}]} for word in words(text)]
        if (body.get("stream_options") or {}).get("include_usage"):
            frames = [{**frame, "usage": None} for frame in frames] + [{"choices": [], "usage": usage}]
        return await self._stream(request, frames, b"data: ", last=b"data: [DONE]\n\n")

    async def _chat_tokenize(self, request: web.Request) -> web.Response:
        """TGI's."""
        prompt = (await request.json())["messages"][-1]["content"]
        return web.json_response({"tokenize_response": [{"id": token_id(word)} for word in words(prompt)]})

    async def _stream(
        self, request: web.Request, frames: list[dict[str, Any]], prefix: bytes, last: bytes = b""
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await self.pace(0)
        await response.prepare(request)
        for number, frame in enumerate(frames):
            if number:
                await self.pace(number)
            if number == self.faults.breaks_stream_after:
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(prefix + json.dumps(frame).encode() + b"\n\n")
        await response.write_eof(last)
        return response


def _adapter_in(body: dict[str, Any]) -> str | None:
    found: str | None = body.get("lora_name") or body.get("model") or body.get("parameters", {}).get("adapter_id")
    return found


async def _at_once(_: int) -> None:
    return


async def _no_metrics(_: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound
