"""TGI's environment, as far as it is imitated."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .facts import ASKED_CRASH_VARIABLE, BLOCK_TOKENS, CRASH_VARIABLE, LENGTH, Fault


@dataclass(frozen=True)
class Settings:
    """How this TGI was started."""

    model: Path
    host: str
    port: int
    lora_adapters: str
    quantize: str
    dtype: str
    prefill_logprobs: bool
    prefix_block: int | None
    """Tokens in a block of the prefix cache; None without one."""
    cuda_graphs: bool
    max_total_tokens: int
    max_input_tokens: int
    max_concurrent_requests: int
    graceful_seconds: float
    faults: frozenset[Fault]
    crash: str
    crash_asked: str


def read(given: Mapping[str, str] = os.environ) -> Settings:
    """Exits as the launcher does where the environment is not understood."""
    model = Path(given.get("MODEL_ID", "bigscience/bloom-560m"))
    faults = frozenset(Fault(name) for name in given.get("STAND_IN_FAULTS", "").split(",") if name)
    total = int(given.get("MAX_TOTAL_TOKENS") or _positions(model))
    return Settings(
        model=model,
        host=_host(given.get("HOSTNAME", "0.0.0.0")),  # noqa: S104  TGI's own default
        port=int(given.get("PORT", "3000")),
        lora_adapters=given.get("LORA_ADAPTERS", "\0"),
        quantize=given.get("QUANTIZE", ""),
        dtype=given.get("DTYPE", "float16"),
        prefill_logprobs=_flag(given, "ENABLE_PREFILL_LOGPROBS"),
        prefix_block=_prefix_block(given, faults),
        cuda_graphs=given.get("CUDA_GRAPHS", "1,2,4,8,16,32") != "0" or Fault.CUDA_GRAPHS in faults,
        max_total_tokens=total,
        max_input_tokens=int(given.get("MAX_INPUT_TOKENS") or total - 1),
        max_concurrent_requests=int(given.get("MAX_CONCURRENT_REQUESTS", "128")),
        graceful_seconds=float(given.get("GRACEFUL_TERMINATION_TIMEOUT", "90")),
        faults=faults,
        crash=given.get(CRASH_VARIABLE, ""),
        crash_asked=given.get(ASKED_CRASH_VARIABLE, ""),
    )


NO_ADAPTERS = "\0"
"""`lora_adapters` where the variable is not set, which is not the same as empty (seen)."""


def _prefix_block(given: Mapping[str, str], faults: frozenset[Fault]) -> int | None:
    if Fault.PREFIX_CACHE in faults:
        return 1
    return BLOCK_TOKENS if given.get("PREFIX_CACHING", "0") in ("1", "true") else None


def _host(given: str) -> str:
    """What is no address binds every interface, as a pod's name would (server.rs:1906)."""
    parts = given.split(".")
    if len(parts) == 4 and all(part.isdigit() for part in parts):
        return given
    sys.stderr.write(f"WARN Invalid hostname, defaulting to 0.0.0.0: {given}\n")
    return "0.0.0.0"  # noqa: S104


def _flag(given: Mapping[str, str], name: str) -> bool:
    """clap's booleans want the words (seen)."""
    value = given.get(name, "false")
    if value not in ("true", "false"):
        option = name.lower().replace("_", "-")
        sys.stderr.write(f"error: invalid value '{value}' for '--{option}'\n  [possible values: true, false]\n")
        sys.exit(2)
    return value == "true"


def _positions(model: Path) -> int:
    try:
        return int(json.loads((model / "config.json").read_text())["max_position_embeddings"])
    except (OSError, ValueError, KeyError):
        return LENGTH
