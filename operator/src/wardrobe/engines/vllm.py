"""vLLM, read and run at 0.32.0: many requests on GPUs, adapters at run time."""

from collections.abc import Sequence

from wardrobe.api.adapter import AdapterSpec
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.basemodel import ShapeStatus
from wardrobe.api.meta import Manifest
from wardrobe.settings import Settings
from wardrobe_contracts import paths
from wardrobe_contracts.base import BaseLocation, Variant
from wardrobe_contracts.engines import EngineType
from wardrobe_contracts.engines.vllm import ADAPTED_MODULES, ADAPTER_BASES, BASE_NAME, FACTS, SLOTS
from wardrobe_contracts.routes import ENGINE_PORT, BaseShape

from .weight import LINEAR, adapted, matrices
from .wrapped import wrapped

CHAT_TEMPLATE = f"{paths.CONTROL}/chat_template.jinja"
MOST_RANK = 64
"""Each slot for an adapter has room for it from the start; it is one of the sizes that vLLM knows.

Slots and rank are bounds of the engine, and do not follow the adapters that are there, so that no department that comes
makes other pods. With a Llama of 8B and all its layers a slot takes 336 MB. Twice the rank would be twice that, and
twice the products of every adapter, for ranks that hardly anybody trains.
"""
KEPT = 2 * SLOTS
"""Adapters in main memory, the longest unused beyond them being read again when it is asked for. What is unloaded stays
until others push it out, so that more would fill the memory as versions come and go."""
DRAIN_SECONDS = 30
"""Without it, requests that are being answered at the pod's end get no answer at all."""
CPU_CACHE_GIB = 1
"""For keys and values, where there is no GPU; on one it takes nine tenths of the memory for itself."""


def container(spec: AdapterDeploymentSpec, base: BaseLocation, shape: ShapeStatus, settings: Settings) -> Manifest:
    """Image, command and environment; mounts and security are the pod's."""
    return {
        "image": settings.engine_images[EngineType.VLLM],
        # not `vllm serve`, which the package for CPUs does not have
        "command": wrapped(["python3", "-m", "vllm.entrypoints.openai.api_server"], _effective_template(base)),
        "args": [
            *("--model", base.folder, "--served-model-name", BASE_NAME),
            *("--host", "127.0.0.1", "--port", str(ENGINE_PORT)),
            *_adapters(spec, shape.sizes),
            *_computing(spec),
            *_length(spec),
            *(("--chat-template", CHAT_TEMPLATE) if base.chat_prelude else ()),
            # else temperature, top_k and so on of requests that do not say them are the base's own
            *("--generation-config", "vllm"),
            *("--shutdown-timeout", str(DRAIN_SECONDS), "--no-enable-log-requests"),
        ],
        "env": [{"name": name, "value": value} for name, value in _environment(spec).items()],
    }


def _effective_template(base: BaseLocation) -> list[str]:
    """What the wrapper writes before it starts vLLM. Where nothing stands before the base's own, vLLM reads that."""
    if not base.chat_prelude:
        return []
    return ["--chat-template", base.folder, CHAT_TEMPLATE, "--chat-prelude", base.chat_prelude]


def _adapters(spec: AdapterDeploymentSpec, base: BaseShape) -> list[str]:
    requests = spec.engine.max_concurrent_requests or FACTS.batch
    return [
        *("--max-num-seqs", str(requests), "--enable-lora", "--max-loras", str(_slots(spec, base, requests))),
        *("--max-cpu-loras", str(KEPT), "--max-lora-rank", str(MOST_RANK)),
        *("--lora-target-modules", *sorted(ADAPTED_MODULES)),
    ]


def _slots(spec: AdapterDeploymentSpec, base: BaseShape, requests: int) -> int:
    """As many as the memory for adapters has room for, one at least. With fewer than requests, one for another adapter
    waits until a slot has no request left."""
    fitting = spec.engine.adapter_memory_bytes // (matrices(MOST_RANK, LINEAR, base) * _bytes(spec))
    return max(1, min(requests, SLOTS, fitting))


def _bytes(spec: AdapterDeploymentSpec) -> int:
    """Of a number: it keeps adapters in the type that it computes in."""
    return 2 if spec.engine.gpus else 4


def weight(spec: AdapterDeploymentSpec, base: BaseShape, adapters: Sequence[AdapterSpec]) -> int:
    """Each as it is, in main memory; its slots are of a size of their own, and take as much again of the GPUs."""
    return sum(matrices(adapter.lora.rank, adapted(adapter), base) for adapter in adapters) * _bytes(spec)


def _computing(spec: AdapterDeploymentSpec) -> list[str]:
    """On CPUs in float32: bfloat16 is done by instructions there that virtual machines promise and do not have."""
    if not spec.engine.gpus:
        return ["--dtype", "float32", "--enforce-eager"]
    return ["--dtype", "bfloat16", "--tensor-parallel-size", str(spec.engine.gpus)]


def _length(spec: AdapterDeploymentSpec) -> list[str]:
    return ["--max-model-len", str(spec.engine.context_length)] if spec.engine.context_length else []


def _environment(spec: AdapterDeploymentSpec) -> dict[str, str]:
    common = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        # its root is read-only, and its user in no password file: torch asks for a name for its cache's folder
        "HOME": "/tmp",  # noqa: S108
        "USER": "wardrobe",
    }
    # bound to cores, all vLLM of a node would share the same ones: it counts the node's, not those of its pod
    on_cpus = {
        "VLLM_CPU_KVCACHE_SPACE": str(CPU_CACHE_GIB),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # else the first score of a prompt waits for a C++ compiler, which the image must then have
        "TORCHDYNAMO_DISABLE": "1",
    }
    return common if spec.engine.gpus else common | on_cpus


def unservable(spec: AdapterDeploymentSpec, shape: ShapeStatus) -> str | None:
    """By quantization first, then by the base's kind, then by what several GPUs can share."""
    return _quantization(spec) or _architecture(shape) or _divided(spec, shape)


def _quantization(spec: AdapterDeploymentSpec) -> str | None:
    """bitsandbytes, by which adapters are assessed on the other variants, left vLLM with 0.28 (its #43529): a plugin
    has it, which the image has not. Whatever else quantizes while loading makes another base than was assessed."""
    if spec.quantization is Variant.NONE:
        return None
    return (
        f"spec.quantization is {spec.quantization}: vLLM has no bitsandbytes, by which adapters are assessed on it. "
        "Write None, or engine.type TGI or Transformers, which have it"
    )


def _architecture(shape: ShapeStatus) -> str | None:
    if shape.model_type in ADAPTER_BASES:
        return None
    return (
        f"the base's model_type is {shape.model_type}: with engine.type VLLM it must be one of "
        f"{', '.join(sorted(ADAPTER_BASES))}, whose layers' names are known. Write engine.type Transformers"
    )


def _divided(spec: AdapterDeploymentSpec, shape: ShapeStatus) -> str | None:
    gpus, heads, pairs = spec.engine.gpus, shape.attention_heads, shape.key_value_heads
    if gpus <= 1 or (heads % gpus == 0 and (pairs % gpus == 0 or gpus % pairs == 0)):
        return None
    return (
        f"spec.engine.gpus is {gpus}: vLLM divides the base's {heads} attention heads and {pairs} heads of keys and "
        "values among the GPUs, and that leaves a rest. Write a number that divides both"
    )


def unfit(adapter: AdapterSpec) -> str | None:
    """By rank and layers. Their shapes it checks itself when an adapter is loaded, and says what it cannot take."""
    if adapter.lora.rank > MOST_RANK:
        return (
            f"has rank {adapter.lora.rank}: with engine.type VLLM it may be {MOST_RANK} at most, since every slot for "
            "an adapter takes the memory of the largest. Train it with a lower rank, or serve it with engine.type "
            "Transformers"
        )
    layers = {name.rpartition(".")[2] for name in adapter.lora.target_modules} - {"all-linear"}
    if others := sorted(layers - ADAPTED_MODULES):
        return (
            f"has targetModules {', '.join(others)}: with engine.type VLLM they may be {_MODULES}. Train it without "
            "the others, or serve it with engine.type Transformers"
        )
    return None


_MODULES = ", ".join(sorted(ADAPTED_MODULES))
