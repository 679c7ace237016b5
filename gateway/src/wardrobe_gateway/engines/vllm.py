"""The dialect of vLLM. Text is asked for at `/v1/completions`, where its ids and scores come with it."""

import json
from collections.abc import Sequence
from typing import Any

from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_contracts.engines.vllm import BASE_NAME
from wardrobe_contracts.probes import Message
from wardrobe_contracts.routes import EngineAdapterName

from . import ChatPrompt, Generation, Token, chats
from .http import understood
from .lora_endpoints import LoraEndpoints

COMPLETIONS = "/v1/completions"


class VllmEngine(LoraEndpoints):
    """One vLLM, started with BASE_NAME as the base's name.

    What it does not load it refuses with 400, 404 or 500 and its words, each for good. Never give it a name and folder
    that it had, for other bytes: its prefix cache knows an adapter by these two. And never `load_inplace`, which would
    have it read the folder again at any time. It forgets a name at once when that is unloaded, and reads the folder no
    more: requests that are being answered go on, but one that waits would have it read the folder, so that nobody may
    be asking.
    """

    facts = ENGINES[EngineType.VLLM]
    own_metrics = "vllm:"

    async def score(self, name: EngineAdapterName | None, text: str) -> list[Token]:
        """Every token of a text, scored in one prefill; its prefix cache has no part in that."""
        with understood(COMPLETIONS):
            choice = await self._complete(name, text, 1, {"prompt_logprobs": 0})
            return _read(choice["prompt_token_ids"], choice["prompt_logprobs"])

    async def generate(self, name: EngineAdapterName | None, prompt: str, tokens: int) -> Generation:
        """At most `tokens` tokens, greedily."""
        with understood(COMPLETIONS):
            choice = await self._complete(name, prompt, tokens, {"logprobs": 0})
            return Generation(choice["text"], _made(choice))

    async def chat_prompt(self, name: EngineAdapterName, messages: Sequence[Message]) -> ChatPrompt:
        """With its tokens. It puts none before those of the template."""
        return await chats.prompt(self._http, name, messages, return_token_ids=True)

    async def steps(self) -> frozenset[bytes]:
        """Its API server writes them whenever the process with the model tells of a step: tokens, and for a step that
        only read a part of a prompt the time of the last look at adapters (vllm/v1/metrics/loggers.py, record)."""
        return await self._http.metrics(b"vllm:iteration_tokens_total_count", b"vllm:lora_requests_info")

    async def _complete(
        self, name: EngineAdapterName | None, prompt: str, tokens: int, more: dict[str, int]
    ) -> dict[str, Any]:
        """The one answer. Prompts are whole already, and `add_special_tokens` would put a token before them."""
        payload = {
            "model": name or BASE_NAME,
            "prompt": prompt,
            "add_special_tokens": False,
            "max_tokens": tokens,
            "temperature": 0,
            "return_token_ids": True,
            **more,
        }
        choice: dict[str, Any] = json.loads(await self._http.post(COMPLETIONS, payload))["choices"][0]
        return choice


def _read(ids: Sequence[int], scores: Sequence[dict[str, Any] | None]) -> list[Token]:
    """A prompt's tokens: each place has, by its id, what was asked to be scored there; the first has nothing."""
    return [
        Token(int(token), float(score[str(token)]["logprob"]) if score else None)
        for token, score in zip(ids, scores, strict=True)
    ]


def _made(choice: dict[str, Any]) -> list[Token]:
    """An answer's tokens. The one that ended it is not in its text."""
    ended = choice["finish_reason"] == "stop"
    ids, scores = choice["token_ids"], choice["logprobs"]["token_logprobs"]
    last = len(ids) - 1
    return [
        Token(int(token), float(score), special=ended and place == last)
        for place, (token, score) in enumerate(zip(ids, scores, strict=True))
    ]
