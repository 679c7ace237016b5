"""vLLM, read and run at 0.32.0."""

from . import tolerances
from .facts import CHAT_FIELDS, OPENAI_NEUTRAL, OPENAI_UNHEEDED, EngineFacts, Loading, Request

_CHAT = Request(
    adapter_field="model",
    # Not: logprobs and prompt_logprobs, which cost a vocabulary's memory per token; add_special_tokens, chat_template,
    # continue_final_message and the like, which make another prompt than the adapter was trained on; n and best_of,
    # which are many requests in one; penalties, structured output and tools, which the other engines do not have.
    fields=CHAT_FIELDS,
    # Written out although `--generation-config vllm` says the same: whoever starts vLLM otherwise would get a base's
    # own top_k, top_p and repetition_penalty in every request that is silent on them, and nobody would notice.
    defaults={"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0},
    neutral=OPENAI_NEUTRAL,
    unheeded=OPENAI_UNHEEDED,
)

BASE_NAME = "wardrobe-base"
"""What it calls the base. Adapters end in a digest, so none is called so, and the agent lets no other name through."""

SLOTS = 32
"""Adapters that a batch may have. Requests for another wait inside of vLLM until one of these has no request left, and
departments do not take turns there; so its batch has no more requests than that, unless somebody asks for it."""

ADAPTED_MODULES = frozenset(
    {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    | {"qkv_proj", "gate_up_proj", "c_fc", "c_proj"}
)
"""Layers that may have adapters. Not `lm_head`, which has them by default: its slots are looked up by the rows that are
sampled, and scoring a prompt asks it for all rows at once (vllm#51594, open). On a CPU that ended the engine as soon as
prompts of adapters were scored together (seen: `einsum(): subscript b has size 3`); on a GPU scores are wrong."""

ADAPTER_BASES = frozenset(
    {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "starcoder2", "granite"}
)
"""`model_type` of bases whose linear layers are all among these."""

FACTS = EngineFacts(
    loading=Loading.AT_RUN_TIME,
    batch=SLOTS,
    requests={"/v1/chat/completions": _CHAT},
    tolerances=tolerances.VLLM,
)
