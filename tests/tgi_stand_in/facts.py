"""What of TGI 3.3.7 is imitated. File and line are those of its tag; "seen" is on the running server."""

from enum import StrEnum

MIN_PADDED_RANK = 8
RANK_BLOCK = 16
"""A lower rank is filled up to 8, a higher one to a multiple of 16 (pad_rank of the punica kernels)."""
WIDEST_IN_DECODE = 64
"""Ranks above are decoded by the kernels of prefill, which mix rightly (adapters/lora.py:360, BGMV_MAX_RANK)."""
LAYER_TYPES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""In this order, and of an adapter nothing else (models/__init__.py:1866)."""
BLOCK_TOKENS = 64
"""Of the prefix cache, on CPU (seen)."""
PREFIXES_KEPT = 8
LENGTH = 1024
"""New tokens that are counted at most, and where a request names no number (router/src/validation.rs:158, 166)."""
BODY_BYTES = 2_000_000
"""launcher main.rs, payload_limit; more is 413."""
SKIPPED_TOKENIZER = "TokenizersBackend"
"""Of transformers 5; 4.51 does not know it: exit 1 (seen)."""
QUANTIZED = {"": "None", "bitsandbytes": "INT8", "bitsandbytes-nf4": "NF4", "bitsandbytes-fp4": "FP4"}
"""Of those that take adapters: what the embedded engine calls them."""
NO_ADAPTERS_ON = ("gptq", "awq", "marlin", "exl2", "fp8")
"""AttributeError at start where an adapter is listed (adapters/lora.py:232)."""
COMPUTE_TYPE = "gpu+optimized"
"""The header says so on a CPU, too (seen)."""
VERSION = "3.3.6-dev0"
"""Of 3.3.7 (Cargo.toml)."""
UNHEALTHY_SECONDS = 0.1
"""From a shard's death until the router closes (seen)."""


class Fault(StrEnum):
    """What drills switch on by STAND_IN_FAULTS, separated by commas, whatever the rest of the environment says."""

    CUDA_GRAPHS = "cuda-graphs"
    """Adapters act in prefill and are ignored in decode, as with CUDA_GRAPHS other than 0 (source, cli.py:96)."""
    PREFIX_CACHE = "prefix-cache"
    """What one adapter has read of a text serves another, as with PREFIX_CACHING=1 (seen), and from the first token on:
    with blocks as on a CPU, prompts that are shorter than one would hide it."""
    NO_ADAPTERS = "adapters-ignored"
    """All names answer from the base, as unknown ones do (models/flash_causal_lm.py:569)."""
    HALF_ADAPTERS = "half-an-adapter"
    """Adapters have half their effect, as at rank 4 in all modules but the first (adapters/lora.py:245)."""
    HANG = "hang"
    """Never listens."""


CRASH_VARIABLE = "STAND_IN_CRASH"
"""A text in LORA_ADAPTERS with which the shard ends at its start, as with files that it cannot read (seen)."""
ASKED_CRASH_VARIABLE = "STAND_IN_CRASH_ASKED"
"""A text in the name of an adapter that the shard ends at when it is asked for it, after a start like any other: an
illegal memory access of the kernels is a RuntimeError (predibase/lorax#525), and that ends it (interceptor.py:30)."""
