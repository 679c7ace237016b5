"""The dialect of wardrobe-engine: TGI's requests for text, vLLM's for loading and listing adapters."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_contracts.routes import EngineAdapterName

from . import (
    EngineBusyError,
    EngineDownError,
    EngineGoneError,
    EngineLacksError,
    EngineRejectedError,
    EngineSilentError,
    Generation,
    Token,
)
from .messages import error_message

ANSWER_SECONDS = aiohttp.ClientTimeout(total=120, sock_connect=2)
CHECK_SECONDS = aiohttp.ClientTimeout(total=5, sock_connect=2)


class TransformersEngine:
    """One wardrobe-engine by its URL."""

    facts = ENGINES[EngineType.TRANSFORMERS]

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def check(self) -> None:
        """Return when the engine is healthy."""
        await self._request("GET", "/health", timeout=CHECK_SECONDS)

    async def loaded(self) -> frozenset[EngineAdapterName]:
        """Names of all models but the base, which is the one without a parent."""
        answer = await self._request("GET", "/v1/models", timeout=CHECK_SECONDS)
        with _understood("/v1/models"):
            return frozenset(str(model["id"]) for model in json.loads(answer)["data"] if model.get("parent"))

    async def load(self, name: EngineAdapterName, folder: Path) -> None:
        """Give it an adapter. One that is there already is no error: names are never used for other bytes."""
        if name not in await self.loaded():
            await self._request("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})

    async def unload(self, name: EngineAdapterName) -> None:
        """Take an adapter away. Not by the list, where one that still has requests is missing already."""
        with contextlib.suppress(EngineLacksError):
            await self._request("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    async def score(self, name: EngineAdapterName | None, text: str) -> list[Token]:
        """Every token of a text, scored in one prefill."""
        answer = await self._generate(name, text, 1, {"decoder_input_details": True})
        with _understood("/generate"):
            return [_token(found) for found in json.loads(answer)["details"]["prefill"]]

    async def generate(self, name: EngineAdapterName | None, prompt: str, tokens: int) -> Generation:
        """At most `tokens` tokens, greedily."""
        body = await self._generate(name, prompt, tokens, {})
        with _understood("/generate"):
            answer = json.loads(body)
            return Generation(answer["generated_text"], [_token(found) for found in answer["details"]["tokens"]])

    async def _generate(self, name: EngineAdapterName | None, text: str, tokens: int, more: dict[str, bool]) -> bytes:
        parameters: dict[str, Any] = {"max_new_tokens": tokens, "do_sample": False, "details": True, **more}
        if name is not None:
            parameters["adapter_id"] = name
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
        except aiohttp.ClientConnectorError as error:
            raise EngineGoneError(f"{method} {path}: {error}") from error
        except TimeoutError as error:
            raise EngineSilentError(f"{method} {path}: no answer within {timeout.total} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise EngineDownError(f"{method} {path}: {type(error).__name__} {error}") from error
        if answer.status == 429:
            raise EngineBusyError(f"{method} {path}: the engine is overloaded")
        if answer.status in {502, 503, 504}:
            raise EngineDownError(f"{method} {path}: {answer.status} {error_message(body)}")
        if answer.status == 404:
            raise EngineLacksError(error_message(body))
        if answer.status >= 400:
            raise EngineRejectedError(error_message(body))
        return body


@contextlib.contextmanager
def _understood(path: str) -> Iterator[None]:
    """Around reading an answer: one of another shape is as good as none."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise EngineRejectedError(f"{path}: the engine's answer is not understood: {error!r}") from error


def _token(found: dict[str, Any]) -> Token:
    """Raises ValueError and its like where it is none."""
    logprob = found.get("logprob")
    return Token(int(found["id"]), None if logprob is None else float(logprob), bool(found.get("special")))
