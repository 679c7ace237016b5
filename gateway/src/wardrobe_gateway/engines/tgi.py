"""The dialect of Text Generation Inference, which has the adapters that it was started with and cannot list them.

Texts go through Hugging Face's own client of it (docs/adr/0031-the-client-of-tgi.md).
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import httpx2
from huggingface_hub import AsyncInferenceClient, TextGenerationOutput, set_async_client_factory
from huggingface_hub.errors import HfHubHTTPError, TextGenerationError

from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_contracts.engines.tgi import ZERO_ADAPTER
from wardrobe_contracts.probes import Message
from wardrobe_contracts.routes import EngineAdapterName

from . import (
    ChatPrompt,
    EngineDownError,
    EngineGoneError,
    EngineRejectedError,
    EngineSilentError,
    Generation,
    StreamError,
    Token,
    chats,
)
from .http import EngineHttp, raise_for, understood

_GENERATE = "/generate"
_CHAT_TOKENIZE = "/chat_tokenize"
_OVERLOADED = "Model is overloaded"
_FAILED = ("Request failed during generation", "Incomplete generation")
_EVENT_DATA = b"data:"
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""The engine is in the same pod. A context with the world's authorities would be read for every request."""


class TgiEngine:
    """One TGI. No request without an adapter's name ever reaches it: in the base's stead answers an adapter
    of zeros, since a batch with the base beside adapters reads past a table (adapters/lora.py:473)."""

    facts = ENGINES[EngineType.TGI]
    own_metrics = "tgi_"
    lost: frozenset[int] = frozenset()
    """It answers from the base where it has no adapter of a name (models/flash_causal_lm.py:569)."""

    def __init__(self, http: EngineHttp) -> None:
        self._http = http
        self._url = http.url + _GENERATE
        set_async_client_factory(_connection)

    async def check(self) -> None:
        """Return when the engine is healthy. Nothing listens until it has read base and adapters."""
        await self._http.get("/health")

    def error_in(self, event: bytes) -> StreamError | None:
        """What the first event of a stream says: TGI has answered 200 by then, whatever is wrong (seen)."""
        try:
            error = json.loads(event.strip().removeprefix(_EVENT_DATA))["error"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        # of chats with the status 422, even of an overload; of texts with the words of a plain answer
        message = str(error.get("message") if isinstance(error, dict) else error)[:500]
        return StreamError(_status(message), message)

    async def score(self, name: EngineAdapterName | None, text: str) -> list[Token]:
        """Every token of a text, scored in one prefill."""
        answer = await self._generate(name, text, 1, scored=True)
        with understood(_GENERATE):
            tokens = [_token(found) for found in _details(answer).prefill]
        if not tokens:
            raise EngineRejectedError(f"{_GENERATE} gave no scores: TGI needs ENABLE_PREFILL_LOGPROBS=true")
        return tokens

    async def generate(self, name: EngineAdapterName | None, prompt: str, tokens: int) -> Generation:
        """At most `tokens` tokens, greedily."""
        answer = await self._generate(name, prompt, tokens, scored=False)
        with understood(_GENERATE):
            return Generation(str(answer.generated_text), [_token(found) for found in _details(answer).tokens])

    async def chat_prompt(self, name: EngineAdapterName, messages: Sequence[Message]) -> ChatPrompt:
        """Counted by an answer, and read as that was read (router/src/server.rs:199). None are added to what the
        template writes."""
        counted = await chats.prompt(self._http, name, messages)
        answer = await self._http.post(_CHAT_TOKENIZE, chats.asking(name, messages))
        with understood(_CHAT_TOKENIZE):
            return replace(counted, ids=[int(token["id"]) for token in json.loads(answer)["tokenize_response"]])

    async def steps(self) -> frozenset[bytes]:
        """It counts each prefill and decode of a batch that its shards have answered (backends/v3/src/backend.rs)."""
        return await self._http.metrics(b"tgi_batch_inference_success")

    async def _generate(
        self, name: EngineAdapterName | None, text: str, tokens: int, *, scored: bool
    ) -> TextGenerationOutput:
        """Greedily, which is said: a request without parameters samples."""
        seconds = self._http.answer_seconds
        with _engine_errors(seconds), understood(_GENERATE):
            async with asyncio.timeout(seconds), AsyncInferenceClient(self._url) as client:
                answer: TextGenerationOutput = await client.text_generation(
                    text,
                    adapter_id=name or ZERO_ADAPTER,
                    max_new_tokens=tokens,
                    do_sample=False,
                    details=True,
                    decoder_input_details=scored,
                )
        return answer


def _connection() -> httpx2.AsyncClient:
    """For the client of Hugging Face: past the environment's proxies, and without a limit, which `_generate` has."""
    return httpx2.AsyncClient(verify=_NO_TLS, trust_env=False, timeout=None)


@contextlib.contextmanager
def _engine_errors(seconds: float) -> Iterator[None]:
    """The client's errors as the agent's."""
    asked = f"POST {_GENERATE}"
    try:
        yield
    except (TextGenerationError, HfHubHTTPError) as error:
        answer = error.__cause__ if isinstance(error, TextGenerationError) else error
        assert isinstance(answer, HfHubHTTPError)  # noqa: S101  the client raises the one from the other
        raise_for(answer.response.status_code, asked, answer.response.content)
        raise EngineRejectedError(str(error)) from error
    except httpx2.ConnectError as error:
        raise EngineGoneError(f"{asked}: {error}") from error
    except TimeoutError as error:
        raise EngineSilentError(f"{asked}: no answer within {seconds:g} s") from error
    except (httpx2.HTTPError, OSError) as error:
        raise EngineDownError(f"{asked}: {type(error).__name__} {error}") from error


def _status(message: str) -> int:
    """The status that the same error has where nothing is streamed."""
    if message == _OVERLOADED:
        return 429
    return 424 if message.startswith(_FAILED) else 422


def _details(answer: TextGenerationOutput) -> Any:
    """The client takes over what it is told, whatever that is: errors of reading it are `understood`."""
    return answer.details


def _token(found: Any) -> Token:
    """Raises ValueError and its like where it is none."""
    logprob = found.logprob
    return Token(int(found.id), None if logprob is None else float(logprob), bool(getattr(found, "special", False)))
