"""OpenAI's chat completions, as a proof asks for them of any engine."""

import json
from collections.abc import Sequence

from wardrobe_contracts.probes import Message
from wardrobe_contracts.routes import EngineAdapterName

from .http import EngineHttp, understood

CHAT = "/v1/chat/completions"


async def prompt_tokens(engine: EngineHttp, name: EngineAdapterName, messages: Sequence[Message]) -> int:
    """How many an engine counts in a chat's prompt, by the `usage` of an answer of one token."""
    sent = [message.model_dump() for message in messages]
    payload = {"model": name, "messages": sent, "max_tokens": 1, "temperature": 0}
    answer = await engine.post(CHAT, payload)
    with understood(CHAT):
        return int(json.loads(answer)["usage"]["prompt_tokens"])
