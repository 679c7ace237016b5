"""The dialect of wardrobe-engine: TGI's requests for text, vLLM's for loading and listing adapters."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from . import EngineBusyError, EngineDownError, EngineRefusedError, Generation, Token, Tolerance
from .words import said

TOLERANCE = Tolerance(noise=0.04, relative=0.1)
"""Source: engines compute in bfloat16, whose 8 significant bits round a logit of 16 by up to 0.03; two stacks then
disagree by about 0.02 per token on average (reference/engines.md, H: of the order of 1e-2), and twice that is allowed.
A tenth of the adapter's effect on top, since large effects move unlikely tokens, whose scores are the least exact.
Measured on CPU, where both stacks compute in float32 (tests/gateway/test_with_real_engine.py): 0.000 on None and NF4,
at most 0.004 on INT8, whose inputs are quantized too, and there at most 0.018 between decode and prefill.
The smallest effect that can be told from none is then 0.1, which is what `wardrobe_trainer.probes` publishes by.
"""

ANSWER_SECONDS = aiohttp.ClientTimeout(total=120, sock_connect=2)
CHECK_SECONDS = aiohttp.ClientTimeout(total=5, sock_connect=2)


class TransformersEngine:
    """One wardrobe-engine by its URL."""

    tolerance = TOLERANCE
    paths = frozenset({"/v1/chat/completions", "/generate", "/generate_stream"})

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def check(self) -> None:
        """Return when the engine is healthy."""
        await self._request("GET", "/health", timeout=CHECK_SECONDS)

    async def loaded(self) -> frozenset[str]:
        """Names of all models but the base, which is the one without a parent."""
        answer = await self._request("GET", "/v1/models", timeout=CHECK_SECONDS)
        with _understood("/v1/models"):
            return frozenset(model["id"] for model in json.loads(answer)["data"] if model.get("parent"))

    async def load(self, version: str, folder: Path) -> None:
        """Give it a version. One that is there already is no error: names are never used for other bytes."""
        if version not in await self.loaded():
            await self._request("POST", "/v1/load_lora_adapter", {"lora_name": version, "lora_path": str(folder)})

    async def unload(self, version: str) -> None:
        """Take a version away."""
        if version in await self.loaded():
            await self._request("POST", "/v1/unload_lora_adapter", {"lora_name": version})

    async def score(self, version: str | None, text: str) -> list[Token]:
        """Every token of a text, scored in one prefill."""
        answer = await self._generate(version, text, 1, {"decoder_input_details": True})
        with _understood("/generate"):
            return [_token(found) for found in json.loads(answer)["details"]["prefill"]]

    async def generate(self, version: str | None, prompt: str, tokens: int) -> Generation:
        """At most `tokens` tokens, greedily."""
        body = await self._generate(version, prompt, tokens, {})
        with _understood("/generate"):
            answer = json.loads(body)
            return Generation(answer["generated_text"], [_token(found) for found in answer["details"]["tokens"]])

    def version_of(self, path: str, payload: dict[str, Any]) -> str | None:
        """`model` of a chat, `parameters.adapter_id` of plain text."""
        named = payload.get("model") if path.startswith("/v1/") else (payload.get("parameters") or {}).get("adapter_id")
        return named if isinstance(named, str) else None

    async def _generate(self, version: str | None, text: str, tokens: int, more: dict[str, bool]) -> bytes:
        parameters: dict[str, Any] = {"max_new_tokens": tokens, "do_sample": False, "details": True, **more}
        if version is not None:
            parameters["adapter_id"] = version
        return await self._request("POST", "/generate", {"inputs": text, "parameters": parameters})

    async def _request(
        self,
        method: str,
        path: str,
        payload: dict[str, Any] | None = None,
        timeout: aiohttp.ClientTimeout = ANSWER_SECONDS,  # noqa: ASYNC109  aiohttp's
    ) -> bytes:
        try:
            async with self._session.request(method, self._url + path, json=payload, timeout=timeout) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EngineDownError(f"{method} {path}: {type(error).__name__} {error}") from error
        if answer.status == 429:
            raise EngineBusyError(f"{method} {path}: the engine is overloaded")
        if answer.status in {502, 503, 504}:
            raise EngineDownError(f"{method} {path}: {answer.status} {said(body)}")
        if answer.status >= 400:
            raise EngineRefusedError(said(body))
        return body


@contextlib.contextmanager
def _understood(path: str) -> Iterator[None]:
    """Around reading an answer: one of another shape is as good as none."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineRefusedError(f"{path}: the engine's answer is not understood: {error!r}") from error


def _token(found: dict[str, Any]) -> Token:
    return Token(id=found["id"], logprob=found.get("logprob"), special=bool(found.get("special")))
