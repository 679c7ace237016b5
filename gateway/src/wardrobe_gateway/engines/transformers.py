"""The dialect of wardrobe-engine: TGI's requests for text, vLLM's for loading and listing adapters."""

import json
from collections.abc import Sequence
from typing import Any

from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_contracts.probes import Message
from wardrobe_contracts.routes import EngineAdapterName

from . import ChatPrompt, Generation, Token, chats
from .http import understood
from .lora_endpoints import LoraEndpoints


class TransformersEngine(LoraEndpoints):
    """One wardrobe-engine. An unload returns when the adapter's last request has finished."""

    facts = ENGINES[EngineType.TRANSFORMERS]
    own_metrics = "wardrobe_engine_"

    async def score(self, name: EngineAdapterName | None, text: str) -> list[Token]:
        """Every token of a text, scored in one prefill."""
        answer = await self._generate(name, text, 1, {"decoder_input_details": True})
        with understood("/generate"):
            return [_token(found) for found in json.loads(answer)["details"]["prefill"]]

    async def generate(self, name: EngineAdapterName | None, prompt: str, tokens: int) -> Generation:
        """At most `tokens` tokens, greedily."""
        body = await self._generate(name, prompt, tokens, {})
        with understood("/generate"):
            answer = json.loads(body)
            return Generation(answer["generated_text"], [_token(found) for found in answer["details"]["tokens"]])

    async def chat_prompt(self, name: EngineAdapterName, messages: Sequence[Message]) -> ChatPrompt:
        """Counted: it renders by the code that has recorded the probes."""
        return await chats.prompt(self._http, name, messages)

    async def steps(self) -> frozenset[bytes]:
        """It counts each pass through its model."""
        return await self._http.metrics(b"wardrobe_engine_batch_forward_duration_seconds_count")

    async def _generate(self, name: EngineAdapterName | None, text: str, tokens: int, more: dict[str, bool]) -> bytes:
        parameters: dict[str, Any] = {"max_new_tokens": tokens, "do_sample": False, "details": True, **more}
        if name is not None:
            parameters["adapter_id"] = name
        return await self._http.post("/generate", {"inputs": text, "parameters": parameters})


def _token(found: dict[str, Any]) -> Token:
    """Raises ValueError and its like where it is none."""
    logprob = found.get("logprob")
    return Token(int(found["id"]), None if logprob is None else float(logprob), bool(found.get("special")))
