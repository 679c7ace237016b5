"""What a department's request names and may say, by the facts of the engine."""

from typing import Any

import pytest

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import ENGINES, EngineType, Precision, Request

REQUESTS = ENGINES[EngineType.TRANSFORMERS].requests
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "payload", "adapter"),
    [
        (CHAT, {"model": "v"}, "v"),
        (CHAT, {"model": ["v"]}, None),
        (CHAT, {"parameters": {"adapter_id": "v"}}, None),
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
        (CHAT, {"model": "v", "messages": [], "stream_options": {"include_usage": True}}, None),
        (CHAT, {"model": "v", "messages": [], "prompt_logprobs": 1}, "prompt_logprobs"),
        (CHAT, {"model": "v", "n": 1, "presence_penalty": 0.0, "frequency_penalty": 0, "user": "a nurse"}, None),
        (CHAT, {"model": "v", "n": 2}, "n"),
        (CHAT, {"model": "v", "n": True}, "n"),
        (CHAT, {"model": "v", "presence_penalty": 0.1}, "presence_penalty"),
        ("/generate", {"inputs": "x", "parameters.seed": 1}, "seed"),
    ],
)
def test_what_departments_may_not_send(path: str, payload: dict[str, Any], refused: str | None) -> None:
    assert REQUESTS[path].forbidden_in(payload) == refused


ASKED = Request(
    adapter_field="parameters.adapter_id",
    fields=frozenset({"inputs", "parameters.top_p", "parameters.do_sample", "stream_options.include_usage"}),
    defaults={"parameters.do_sample": True, "parameters.top_k": 50},
    neutral={"parameters.top_p": 1, "n": 1},
    unheeded=frozenset({"user"}),
    implied={"parameters.do_sample": frozenset({"parameters.top_p"})},
    superseded={"inputs": "stream_options.include_usage"},
)


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        pytest.param(
            {"inputs": "x"},
            {"inputs": "x", "parameters": {"do_sample": True, "top_k": 50}},
            id="defaults make the object",
        ),
        pytest.param(
            {"parameters": {"adapter_id": "v", "do_sample": False, "top_k": None}},
            {"parameters": {"adapter_id": "v", "do_sample": False, "top_k": 50}},
            id="false is said, null is not",
        ),
        pytest.param(
            {"inputs": "x", "n": 1, "user": "u", "tools": None, "parameters": {"top_p": 1.0, "details": False}},
            {"inputs": "x", "parameters": {"do_sample": True, "top_k": 50}},
            id="what asks for nothing is not told",
        ),
        pytest.param(
            {"inputs": "x", "stream_options": {"include_usage": 1}},
            {"stream_options": {"include_usage": 1}, "parameters": {"do_sample": True, "top_k": 50}},
            id="of two names for the same thing one is told",
        ),
        pytest.param(
            {"parameters": {"adapter_id": "v"}, "parameters.adapter_id": None},
            {"parameters": {"adapter_id": "v", "do_sample": True, "top_k": 50}},
            id="a name with a dot is no field of an object",
        ),
    ],
)
def test_what_the_engine_gets(sent: dict[str, Any], forwarded: dict[str, Any]) -> None:
    assert ASKED.forbidden_in(sent) is None
    assert ASKED.prepared(sent) == forwarded


def test_a_request_that_says_everything_goes_on_as_it_is() -> None:
    sent = {"model": "v", "messages": [], "stream_options": {"include_usage": True}, "temperature": 0.5}
    assert REQUESTS[CHAT].prepared(sent) is sent


@pytest.mark.parametrize(
    ("parameters", "sampled"),
    [
        ({}, False),
        ({"seed": 1}, False),
        ({"temperature": 1.0}, True),
        ({"top_k": 1}, True),
        ({"top_p": 1}, True),
        ({"top_p": 1, "do_sample": False}, False),
        ({"temperature": None}, False),
    ],
)
@pytest.mark.parametrize("path", ["/generate", "/generate_stream"])
def test_tgi_samples_where_a_way_to_sample_is_named(path: str, parameters: dict[str, Any], sampled: bool) -> None:
    sent = {"inputs": "x", "parameters": {"adapter_id": "v", **parameters}}
    assert ENGINES[EngineType.TGI].requests[path].prepared(sent)["parameters"]["do_sample"] is sampled


@pytest.mark.parametrize("engine", EngineType)
def test_a_plain_text_is_no_format_to_any_engine(engine: EngineType) -> None:
    chat = ENGINES[engine].requests[CHAT]
    sent = {"model": "v", "messages": [], "response_format": {"type": "text"}}
    assert chat.forbidden_in(sent) is None
    assert "response_format" not in chat.prepared(sent)
    assert chat.forbidden_in({**sent, "response_format": {"type": "json_object"}}) == "response_format"


def test_tgi_computes_in_bfloat16_only_and_the_others_in_float32_on_a_cpu() -> None:
    assert {engine: facts.precision for engine, facts in ENGINES.items()} == {
        EngineType.TRANSFORMERS: Precision.FLOAT32,
        EngineType.TGI: Precision.BFLOAT16,
        EngineType.VLLM: Precision.FLOAT32,
    }
    with pytest.raises(ValueError, match=r"^NF4 in float32 is nothing that this engine serves: .* NF4 in bfloat16, "):
        ENGINES[EngineType.TGI].tolerance(Variant.NF4, Precision.FLOAT32)
