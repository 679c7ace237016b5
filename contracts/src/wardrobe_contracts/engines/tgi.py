"""Text Generation Inference 3.3.7. File and line are those of its tag v3.3.7."""

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

ZERO_ADAPTER = "wardrobe-zero"
"""Engine name of the adapter that answers as the base, which may never be asked beside adapters (adapters/lora.py:473).
No Adapter's engine name: those end in eight hexadecimal digits."""

ADAPTED_MODULES = (
    *(f"self_attn.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
)
"""What an adapter may adapt of each layer, on ADAPTER_BASES. Whatever else it holds is dropped without a word
(utils/adapter.py:202-263)."""
ADAPTER_BASES = frozenset({"llama", "mistral", "gemma2", "gemma3_text"})
"""Values of a base's model_type. On qwen2 and starcoder2 adapters load, and of q, k, v, gate and up nothing is applied:
their layers look for it under a whole weight's name (models/custom_modeling/flash_qwen2_modeling.py:49,226)."""
RANK_STEP = 16
"""Per GPU. Ranks but 8 and multiples of this are scaled wrongly in all modules but the first (adapters/lora.py:245)."""
WIDEST_RANK = 128
"""Per GPU: what the kernels take (MAX_RANK_CUSTOM, adapters/lora.py:316)."""


def filled_rank(widest: int, gpus: int) -> int:
    """The rank that all adapters of an engine are filled up to, the widest of them being this."""
    step = RANK_STEP * gpus
    return -(-widest // step) * step


_CHAT = Request(
    adapter_field="model",
    fields=CHAT_FIELDS - {"stop"},
    # Not only idle: TGI refuses a top_p of 1 (validation.rs:238), makes a repetition penalty of 2 out of a presence
    # penalty of 0 (lib.rs:960), and reads no response_format in OpenAI's words (seen).
    neutral={**OPENAI_NEUTRAL, "top_p": 1, "stop": []},
    unheeded=OPENAI_UNHEEDED,
    # The text of a chat is the generated one (server.rs:1280), and one text instead of a list is a 422 (lib.rs:886).
    withheld={"stop": "TGI leaves the text of stop in a chat's answer, where other engines cut it off"},
    # One is another name of the other there, and both are a duplicate field (422). vLLM takes the same one.
    superseded={"max_tokens": "max_completion_tokens"},
)
_TEXT = Request(
    adapter_field="parameters.adapter_id",
    fields=GENERATE_FIELDS,
    # Without `parameters` TGI samples (lib.rs:421); with them it is greedy, as are the others.
    defaults={"parameters.do_sample": False},
    neutral={"parameters.top_p": 1},
    # A temperature of 1 alone, or a top_p of 1, is greedy there; on Transformers whoever names a way to sample samples.
    implied={"parameters.do_sample": frozenset(f"parameters.{name}" for name in ("temperature", "top_k", "top_p"))},
)
"""Without `decoder_input_details`, for what it costs. `/v1/completions` is not offered: it scores the prompt of every
answer that is not streamed (server.rs:796), and says of each answer that it is the base's."""

FACTS = EngineFacts(
    loading=Loading.AT_START,
    batch=128,
    requests={"/v1/chat/completions": _CHAT, "/generate": _TEXT, "/generate_stream": _TEXT},
    tolerances=tolerances.TGI,
)
