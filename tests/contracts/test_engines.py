"""What a department's request names and may say, by the facts of the engine."""

from typing import Any

import pytest

from wardrobe_contracts.engines import ENGINES, EngineType

REQUESTS = ENGINES[EngineType.TRANSFORMERS].requests


@pytest.mark.parametrize(
    ("path", "payload", "adapter"),
    [
        ("/v1/chat/completions", {"model": "v"}, "v"),
        ("/v1/chat/completions", {"model": ["v"]}, None),
        ("/v1/chat/completions", {"parameters": {"adapter_id": "v"}}, None),
        ("/generate", {"parameters": {"adapter_id": "v"}}, "v"),
        ("/generate", {"parameters": [1]}, None),
        ("/generate", {"model": "v", "adapter_id": "v"}, None),
        ("/generate_stream", {"parameters.adapter_id": "v"}, None),
    ],
)
def test_the_adapter_that_a_request_names(path: str, payload: dict[str, Any], adapter: str | None) -> None:
    assert REQUESTS[path].adapter_in(payload) == adapter


@pytest.mark.parametrize(
    ("path", "payload", "refused"),
    [
        ("/generate", {"inputs": "x", "parameters": {"seed": 1, "adapter_id": "v", "details": True}}, None),
        ("/generate", {"inputs": "x", "parameters": {"decoder_input_details": True}}, "decoder_input_details"),
        ("/generate", {"inputs": "x", "parameters": {"decoder_input_details": False}}, None),
        ("/generate", {"inputs": "x", "parameters": {"decoder_input_details": 0}}, "decoder_input_details"),
        ("/v1/chat/completions", {"model": "v", "messages": [], "stream_options": {"include_usage": True}}, None),
        ("/v1/chat/completions", {"model": "v", "messages": [], "prompt_logprobs": 1}, "prompt_logprobs"),
    ],
)
def test_what_departments_may_not_send(path: str, payload: dict[str, Any], refused: str | None) -> None:
    assert REQUESTS[path].forbidden_in(payload) == refused
