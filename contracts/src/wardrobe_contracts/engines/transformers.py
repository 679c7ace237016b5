"""wardrobe-engine, the embedded engine."""

from . import tolerances
from .facts import (
    CHAT_FIELDS,
    GENERATE_FIELDS,
    OPENAI_NEUTRAL,
    OPENAI_UNHEEDED,
    EngineFacts,
    Loading,
    Request,
)

_CHAT = Request(
    adapter_field="model",
    fields=CHAT_FIELDS,
    neutral=OPENAI_NEUTRAL,
    unheeded=OPENAI_UNHEEDED,
)
_TEXT = Request(
    adapter_field="parameters.adapter_id",
    fields=GENERATE_FIELDS,
)
"""Without `decoder_input_details`: scores of a prompt cost a batch's memory for one row, and are for proofs."""

FACTS = EngineFacts(
    loading=Loading.AT_RUN_TIME,
    batch=32,
    requests={"/v1/chat/completions": _CHAT, "/generate": _TEXT, "/generate_stream": _TEXT},
    tolerances=tolerances.TRANSFORMERS,
    checks_base=True,
    finds_gpu=True,
)
