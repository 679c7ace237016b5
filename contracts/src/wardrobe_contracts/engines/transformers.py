"""wardrobe-engine, the embedded engine."""

from . import tolerances
from .facts import OPENAI_NEUTRAL, OPENAI_UNHEEDED, EngineFacts, Loading, Request

_CHAT = Request(
    adapter_field="model",
    fields=frozenset(
        {"messages", "stream", "stream_options.include_usage", "max_tokens", "max_completion_tokens"}
        | {"temperature", "top_p", "seed", "stop"}
    ),
    neutral=OPENAI_NEUTRAL,
    unheeded=OPENAI_UNHEEDED,
)
_TEXT = Request(
    adapter_field="parameters.adapter_id",
    fields=frozenset(
        {"inputs"}
        | {f"parameters.{name}" for name in ("max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "seed")}
        | {f"parameters.{name}" for name in ("stop", "return_full_text", "details")}
    ),
)
"""Without `decoder_input_details`: scores of a prompt cost a batch's memory for one row, and are for proofs."""

FACTS = EngineFacts(
    loading=Loading.AT_RUN_TIME,
    batch=32,
    requests={"/v1/chat/completions": _CHAT, "/generate": _TEXT, "/generate_stream": _TEXT},
    tolerances=tolerances.TRANSFORMERS,
)
