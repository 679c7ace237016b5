"""What vLLM is asked, before answers of its form (test_with_vllm.py holds the dialect to the real one)."""

from typing import Any

import aiohttp
import pytest
from aiohttp import web
from support.gateway import Server

from wardrobe_contracts.engines.vllm import BASE_NAME
from wardrobe_gateway.engines import Token
from wardrobe_gateway.engines.http import EngineHttp
from wardrobe_gateway.engines.vllm import VllmEngine

SCORED = {
    "text": "c",
    "finish_reason": "length",
    "prompt_token_ids": [4, 5],
    "prompt_logprobs": [None, {"5": {"logprob": -1.5}}],
    "token_ids": [7],
    "logprobs": {"token_logprobs": [-0.25]},
}


@pytest.mark.parametrize(("name", "asked"), [("a-v1-00000000", "a-v1-00000000"), (None, BASE_NAME)])
async def test_prompts_are_read_as_they_are_and_answered_greedily(name: str | None, asked: str) -> None:
    """Most tokenizers would put a token before each text, which the template has written already."""
    seen: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(await request.json())
        return web.json_response({"choices": [SCORED]})

    app = web.Application()
    app.router.add_post("/v1/completions", handle)
    server = Server(lambda: app)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            engine = VllmEngine(EngineHttp(session, server.url))
            assert await engine.score(name, "Ab") == [Token(4, None), Token(5, -1.5)]
            made = await engine.generate(name, "Ab", 24)
    finally:
        await server.stop()
    assert (made.text, made.tokens) == ("c", [Token(7, -0.25)])
    both = {"model": asked, "prompt": "Ab", "add_special_tokens": False, "temperature": 0, "return_token_ids": True}
    assert seen == [
        {**both, "max_tokens": 1, "prompt_logprobs": 0},
        {**both, "max_tokens": 24, "logprobs": 0},
    ]
