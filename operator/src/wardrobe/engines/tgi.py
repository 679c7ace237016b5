"""Text Generation Inference 3.3.7, told by its environment only: its entry point splits arguments at blanks.

File and line are those of its tag v3.3.7; "seen" is what it did when it was run. An adapter's name reaches it inside
LORA_ADAPTERS, where `,`, `=`, `@` and blanks mean something else: names in Kubernetes have none of these.
"""

from collections.abc import Sequence

from wardrobe.api.adapter import AdapterSpec
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec, EngineSpec
from wardrobe.api.basemodel import ShapeStatus
from wardrobe.api.meta import Manifest
from wardrobe.settings import Settings
from wardrobe_contracts import paths
from wardrobe_contracts.base import BaseLocation, Variant
from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_contracts.engines.tgi import ADAPTED_MODULES, ADAPTER_BASES, WIDEST_RANK, filled_rank
from wardrobe_contracts.routes import ENGINE_PORT, BaseShape

from .weight import adapted, matrices
from .wrapped import wrapped

QUANTIZE = {Variant.NF4: "bitsandbytes-nf4", Variant.FP4: "bitsandbytes-fp4", Variant.INT8: "bitsandbytes"}
"""Those of its kinds that quantize a base as published and whose layers LoRA finds (adapters/lora.py:232). GPTQ and AWQ
are bases that were quantized before, which a BaseModel cannot be: their layers have no `.weight`, and it crashes."""

BASE_LINKS = f"{paths.CONTROL}/base"
"""What it is given as its model: links to the base, with a tokenizer that its transformers 4.51.3 can read (seen)."""
TERMINATION_SECONDS = 10
"""GRACEFUL_TERMINATION_TIMEOUT. It is waited for twice, for the router and for the shards (launcher/src/main.rs
`terminate`, `shutdown_shards`). The agent has drained before; this is for what took longer than that."""
STOP_SECONDS = 30
"""Until the wrapper kills what is left of it, for another set."""
TEMPORARY = "/tmp"  # noqa: S108  its own volume

_BYTES = 2
"""Of a number in bfloat16."""
_OTHER_ENGINE = "choose another spec.engine.type"
_PHI3 = "of its gate_up_proj nothing is applied"
_QWEN2 = "of q_proj, k_proj and v_proj nothing is applied"
LOST_ON = {"phi3": _PHI3, "qwen2": _QWEN2, "starcoder2": _QWEN2}
"""What of an adapter is lost without a word: adapters are looked for under `q_proj`, and these layers are called by a
whole weight's name (models/custom_modeling/flash_qwen2_modeling.py:46, flash_starcoder2_modeling.py:132), or are not
looked for at all (models/__init__.py:1870)."""
FLAT_HEADS = frozenset({"llama"})
"""Whose heads it takes for hidden_size / attention_heads wide, whatever head_dim says (flash_llama_modeling.py:73)."""


def container(spec: AdapterDeploymentSpec, base: BaseLocation, shape: ShapeStatus, settings: Settings) -> Manifest:
    """Image, command and environment; mounts, resources and security are the pod's."""
    del shape
    options = ["--when-ordered", "--base-links", base.folder, BASE_LINKS, "--stop-seconds", str(STOP_SECONDS)]
    options += ["--chat-prelude", base.chat_prelude] if base.chat_prelude else []
    return {
        "image": settings.engine_images[EngineType.TGI],
        "command": wrapped(["text-generation-launcher"], options),
        "workingDir": TEMPORARY,  # the router writes `out/` where it runs, and reads prompts otherwise where it cannot
        "env": [{"name": name, "value": value} for name, value in _environment(spec).items()],
    }


def _environment(spec: AdapterDeploymentSpec) -> dict[str, str]:
    """Flags are read as `true`, not as `1` (seen). LORA_ADAPTERS comes with an order; it may not be empty (seen)."""
    return {
        "MODEL_ID": BASE_LINKS,
        "HOSTNAME": "127.0.0.1",  # the pod's name, which is there otherwise, means 0.0.0.0 (router/src/server.rs:1906)
        "PORT": str(ENGINE_PORT),  # the images have 80, and 8080 is the agent's
        "NUM_SHARD": str(spec.engine.gpus),  # otherwise every GPU that it sees
        "DTYPE": "bfloat16",  # otherwise float16 for Llama (models/flash_causal_lm.py:1206)
        **_quantized(spec.quantization),
        **_lengths(spec.engine),
        "MAX_CONCURRENT_REQUESTS": str(spec.engine.max_concurrent_requests or ENGINES[EngineType.TGI].batch),
        "ENABLE_PREFILL_LOGPROBS": "true",  # otherwise `prefill` is empty, with 200: nothing could be proved (seen)
        "CUDA_GRAPHS": "0",  # they decode without the adapter (PR #2180; server/text_generation_server/cli.py:96)
        "PREFIX_CACHING": "0",  # its blocks are found by tokens alone: one adapter's for another (seen)
        "USAGE_STATS": "off",
        "HF_HUB_OFFLINE": "1",  # exactly so: the router compares with 1 (router/src/server.rs:1578)
        "HOME": TEMPORARY,  # compiled kernels are kept below it, and root's cannot be written
        "HF_HOME": f"{TEMPORARY}/huggingface",
        "HUGGINGFACE_HUB_CACHE": f"{TEMPORARY}/huggingface",
        "GRACEFUL_TERMINATION_TIMEOUT": str(TERMINATION_SECONDS),
    }


def _quantized(variant: Variant) -> dict[str, str]:
    return {"QUANTIZE": QUANTIZE[variant]} if variant in QUANTIZE else {}


def _lengths(engine: EngineSpec) -> dict[str, str]:
    """A prompt leaves room for one token at least (launcher/src/main.rs:2158)."""
    most = engine.context_length
    return {} if most is None else {"MAX_INPUT_TOKENS": str(most - 1), "MAX_TOTAL_TOKENS": str(most)}


def unservable(spec: AdapterDeploymentSpec, shape: ShapeStatus) -> str | None:
    """By the accelerators first, then by what it makes of the base."""
    return _without_gpus(spec.engine) or _unknown(shape) or _heads(spec.engine, shape)


def _without_gpus(engine: EngineSpec) -> str | None:
    """Seen: with IPEX 2.7.0, which its image for CPUs has, each request for an adapter fails; with 2.8.0 a batch with
    two adapters gets wrong texts, with 200."""
    if engine.gpus:
        return None
    return (
        "spec.engine.gpus is 0 and spec.engine.type is TGI: on CPUs it serves no adapters, or wrong ones. Write the "
        "number of GPUs of a pod, or spec.engine.type Transformers"
    )


def _unknown(shape: ShapeStatus) -> str | None:
    """Layers that LoRA is applied to (TensorParallelMultiAdapterLinear in models/custom_modeling)."""
    kind = shape.model_type
    if kind in FLAT_HEADS and shape.head_dim * shape.attention_heads != shape.hidden_size:
        return (
            f"the base's head_dim is {shape.head_dim}, and TGI takes hidden_size / attention_heads for it with bases "
            f"of type {kind}, here {shape.hidden_size} / {shape.attention_heads}: {_OTHER_ENGINE}"
        )
    if kind in ADAPTER_BASES:
        return None
    why = LOST_ON.get(kind, "it has no layers for them")
    return (
        f"the base's model_type is {kind!r}, and on it TGI serves no adapters: {why}. It does on "
        f"{', '.join(sorted(ADAPTER_BASES))}; for this base {_OTHER_ENGINE}"
    )


def _heads(engine: EngineSpec, shape: ShapeStatus) -> str | None:
    """models/custom_modeling/flash_llama_modeling.py:150; the others divide heads of keys with a rest, and go on."""
    gpus, heads, pairs = engine.gpus, shape.attention_heads, shape.key_value_heads
    if heads % gpus == 0 and pairs % gpus == 0:
        return None
    return (
        f"spec.engine.gpus is {gpus}: TGI divides the base's {heads} attention heads and {pairs} heads of keys and "
        "values among the GPUs, and that leaves a rest. Write a number that divides both"
    )


def unfit(adapter: AdapterSpec) -> str | None:
    """What is known without its files; the agent looks into these before they are given to the engine."""
    return _too_wide(adapter.lora.rank) or _unknown_modules(adapter.lora.target_modules)


def _too_wide(rank: int) -> str | None:
    """All adapters of an engine are filled up to one rank. Above what the kernels take, every layer goes through the
    adapters one by one (layers/lora.py:196). More GPUs take more, but to take one away must not turn adapters out."""
    if rank <= WIDEST_RANK:
        return None
    return (
        f"has rank {rank}: TGI's kernels take {WIDEST_RANK} at most. Train it with a lower rank, or serve it with "
        "engine.type Transformers"
    )


def _unknown_modules(targets: list[str]) -> str | None:
    """Of what else an adapter has it takes nothing, without a word (utils/adapter.py:202)."""
    known = {name.rpartition(".")[2] for name in ADAPTED_MODULES} | {"all-linear"}
    if not (lost := sorted({name.rpartition(".")[2] for name in targets} - known)):
        return None
    return (
        f"adapts {', '.join(lost)}, which TGI would leave out: it takes {', '.join(sorted(known))}. Train it on these, "
        "or serve it with engine.type Transformers"
    )


def weight(spec: AdapterDeploymentSpec, base: BaseShape, adapters: Sequence[AdapterSpec]) -> int:
    """All filled up to one form, and the zero adapter beside them, in bfloat16."""
    if not adapters:
        return 0
    rank = filled_rank(max(adapter.lora.rank for adapter in adapters), spec.engine.gpus or 1)
    modules = frozenset[str]().union(*map(adapted, adapters))
    return (len(adapters) + 1) * matrices(rank, modules, base) * _BYTES
