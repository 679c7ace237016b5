"""What departments may send is what the engine takes, but for scores of a prompt, which are for proofs."""

from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_engine.chat import ChatRequest, StreamOptions
from wardrobe_engine.tgi import GenerateRequest, Parameters

OFFERED = ENGINES[EngineType.TRANSFORMERS].requests


def test_chats() -> None:
    options = {f"stream_options.{name}" for name in StreamOptions.model_fields}
    offered = OFFERED["/v1/chat/completions"]
    assert offered.fields | {offered.adapter_field} == (set(ChatRequest.model_fields) - {"stream_options"}) | options


def test_texts() -> None:
    parameters = {f"parameters.{name}" for name in Parameters.model_fields}
    takes = (set(GenerateRequest.model_fields) - {"parameters"}) | parameters
    for path in ("/generate", "/generate_stream"):
        fields = OFFERED[path].fields | {OFFERED[path].adapter_field}
        assert takes - fields == {"parameters.decoder_input_details"}
        assert fields <= takes
