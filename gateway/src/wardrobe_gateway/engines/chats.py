"""OpenAI's chat completions, as a proof asks for them of any engine."""

import json
from collections.abc import Sequence
from typing import Any

from wardrobe_contracts.probes import Message
from wardrobe_contracts.routes import EngineAdapterName

from . import ChatPrompt
from .http import EngineHttp, understood

CHAT = "/v1/chat/completions"


async def prompt(engine: EngineHttp, name: EngineAdapterName, messages: Sequence[Message], **more: bool) -> ChatPrompt:
    """By an answer of one token: what its `usage` counts and, as vLLM has them, ids."""
    answer = await engine.post(CHAT, {**asking(name, messages), "max_tokens": 1, "temperature": 0, **more})
    with understood(CHAT):
        said = json.loads(answer)
        ids = said.get("prompt_token_ids")
        return ChatPrompt(int(said["usage"]["prompt_tokens"]), None if ids is None else [int(token) for token in ids])


def asking(name: EngineAdapterName, messages: Sequence[Message]) -> dict[str, Any]:
    """What says who is asked, and what."""
    return {"model": name, "messages": [message.model_dump() for message in messages]}
