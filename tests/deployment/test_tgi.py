"""What TGI is told, and what it is not given because it would get it wrong."""

from typing import Any

import pytest
from support import fake_cluster, resources

from wardrobe import engines
from wardrobe.api.adapter import AdapterSpec
from wardrobe.api.adapterdeployment import AdapterDeploymentResource, AdapterDeploymentSpec
from wardrobe.api.basemodel import ShapeStatus
from wardrobe.api.meta import Manifest
from wardrobe.deployment.children import pods
from wardrobe.deployment.children.engine import engine_deployment
from wardrobe_contracts import paths
from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import ENGINES, EngineType, Precision

DRAINED_BY = 65
"""Seconds that an agent lingers and drains, by its defaults."""


def spec(quantization: str = "None", **engine: Any) -> AdapterDeploymentSpec:
    asked = {"engine": {"type": "TGI", "gpus": 2} | engine, "quantization": quantization}
    made = resources.deployment(spec=asked, cardiology="cardiology-v1")
    return AdapterDeploymentSpec.model_validate(made["spec"])


def container(quantization: str = "None", **engine: Any) -> Manifest:
    base = resources.base_to_build_on()
    return engines.container(spec(quantization, **engine), base.location, base.shape, fake_cluster.SETTINGS)


def told(quantization: str = "None", **engine: Any) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(quantization, **engine)["env"]}


ALWAYS = {
    "HOSTNAME": "127.0.0.1",
    "PORT": "8000",
    "DTYPE": "bfloat16",
    "ENABLE_PREFILL_LOGPROBS": "true",
    "CUDA_GRAPHS": "0",
    "PREFIX_CACHING": "0",
    "USAGE_STATS": "off",
    "HF_HUB_OFFLINE": "1",
    "NUM_SHARD": "2",
}


@pytest.mark.parametrize("quantization", list(Variant))
def test_it_is_told_what_it_would_otherwise_get_wrong(quantization: str) -> None:
    assert ALWAYS.items() <= told(quantization).items()


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [("None", None), ("NF4", "bitsandbytes-nf4"), ("FP4", "bitsandbytes-fp4"), ("INT8", "bitsandbytes")],
)
def test_a_variant_has_its_name_there(quantization: str, expected: str | None) -> None:
    assert told(quantization).get("QUANTIZE") == expected


def test_adapters_are_an_order_of_the_agents_and_never_an_empty_list() -> None:
    assert "LORA_ADAPTERS" not in told()
    assert "--when-ordered" in container()["command"]


def test_its_model_is_links_that_the_wrapper_makes() -> None:
    command = container()["command"]
    at = command.index("--base-links")
    assert command[at + 1 : at + 3] == [paths.BASE, told()["MODEL_ID"]]
    assert command[-2:] == ["--", "text-generation-launcher"]


@pytest.mark.parametrize(("written", "expected"), [(None, (None, None)), (4096, ("4095", "4096"))])
def test_a_context_length_is_prompt_and_answer(written: int | None, expected: tuple[str | None, str | None]) -> None:
    found = told(contextLength=written) if written else told()
    assert (found.get("MAX_INPUT_TOKENS"), found.get("MAX_TOTAL_TOKENS")) == expected


def test_it_takes_as_many_requests_as_its_agent_lets_in() -> None:
    assert told()["MAX_CONCURRENT_REQUESTS"] == str(ENGINES[EngineType.TGI].batch)
    assert told(maxConcurrentRequests=24)["MAX_CONCURRENT_REQUESTS"] == "24"


def test_whatever_it_writes_has_a_place() -> None:
    found = container()
    assert found["workingDir"] == "/tmp"
    assert {told()[name].split("/")[1] for name in ("HOME", "HF_HOME", "HUGGINGFACE_HUB_CACHE")} == {"tmp"}


def test_router_and_shards_end_before_they_are_killed() -> None:
    both = 2 * int(told()["GRACEFUL_TERMINATION_TIMEOUT"])
    command = container()["command"]
    assert both < float(command[command.index("--stop-seconds") + 1])
    assert DRAINED_BY + both < pods.GRACE_SECONDS


def pod(**engine: Any) -> Manifest:
    found = resources.stored(resources.deployment(spec={"engine": engine}, cardiology="cardiology-v1"))
    made = engine_deployment(
        AdapterDeploymentResource.parse(found), resources.base_to_build_on(), fake_cluster.SETTINGS
    )
    template: Manifest = made["spec"]["template"]["spec"]
    return template


def test_gpus_are_the_engines_alone_whatever_else_is_asked_for() -> None:
    written = {"requests": {"memory": "8Gi", "nvidia.com/gpu": "7"}, "limits": {"memory": "16Gi"}}
    made = pod(type="TGI", gpus=2, pod={"resources": written})
    engine = made["initContainers"][-1]
    assert engine["resources"] == {
        "requests": {"memory": "8Gi"},
        "limits": {"memory": "16Gi", "nvidia.com/gpu": "2"},
    }
    others = [*made["initContainers"][:-1], *made["containers"]]
    assert not any("nvidia.com/gpu" in str(container["resources"]) for container in others)
    assert made["containers"][0]["args"][-2:] == ["--shards", "2"]


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ({}, "float32"),
        ({"gpus": 1}, "bfloat16"),
        ({"type": "Transformers", "gpus": 1}, "bfloat16"),
        ({"type": "Transformers", "pod": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}, "bfloat16"),
        ({"type": "Transformers", "pod": {"resources": {"requests": {"amd.com/gpu": "1"}}}}, "bfloat16"),
        ({"type": "Transformers", "pod": {"resources": {"limits": {"nvidia.com/mig-1g.10gb": "1"}}}}, "bfloat16"),
        ({"type": "Transformers", "pod": {"resources": {"limits": {"cpu": "1"}}}}, "float32"),
        ({"type": "VLLM", "pod": {"resources": {"limits": {"amd.com/gpu": "1"}}}}, "float32"),
    ],
)
def test_proofs_are_judged_by_what_the_engine_computes_in(engine: dict[str, Any], expected: str) -> None:
    arguments = pod(**engine)["containers"][0]["args"]
    assert arguments[arguments.index("--precision") + 1] == expected


def test_wrapper_and_base_are_seen_to_before_the_engine_starts() -> None:
    assert [one["name"] for one in pod(type="TGI", gpus=1)["initContainers"]] == ["wrapper", "base", "engine"]
    assert [one["name"] for one in pod(type="Transformers")["initContainers"]] == ["wrapper", "engine"]


def test_agent_and_wrapper_share_a_folder() -> None:
    made = pod(type="TGI", gpus=1)
    for container in (made["initContainers"][0], made["initContainers"][-1], made["containers"][0]):
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert mounts[paths.CONTROL] == {"name": "control", "mountPath": paths.CONTROL}


SHAPE = ShapeStatus.model_validate(resources.ready_base()["shape"])

SERVED: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {}, None),
    ({"gpus": 1}, {"model_type": "mistral", "head_dim": 7}, None),
    ({"gpus": 0}, {}, "spec.engine.gpus is 0 and spec.engine.type is TGI"),
    ({"gpus": 3}, {}, "spec.engine.gpus is 3: TGI divides the base's"),
    ({}, {"model_type": "qwen3"}, "model_type is 'qwen3', and on it TGI serves no adapters"),
    ({}, {"model_type": "qwen2"}, "of q_proj, k_proj and v_proj nothing is applied"),
    ({}, {"model_type": "phi3"}, "of its gate_up_proj nothing is applied"),
    ({}, {"head_dim": 7}, "the base's head_dim is 7"),
]


@pytest.mark.parametrize(("engine", "shape", "expected"), SERVED)
def test_what_it_would_get_wrong_is_refused(
    engine: dict[str, Any], shape: dict[str, Any], expected: str | None
) -> None:
    why = engines.unservable(spec(**engine), SHAPE.model_copy(update=shape), fake_cluster.SETTINGS)
    assert why is None if expected is None else expected in (why or "")


@pytest.mark.parametrize("gpus", [0, 1])
@pytest.mark.parametrize("variant", list(Variant))
@pytest.mark.parametrize("engine", list(EngineType))
def test_no_pod_is_made_whose_agent_could_not_judge_its_proofs(engine: EngineType, variant: Variant, gpus: int) -> None:
    asked = spec(variant, type=engine, gpus=gpus)
    if engines.unservable(asked, SHAPE, fake_cluster.SETTINGS) is None:
        ENGINES[engine].tolerance(variant, Precision.BFLOAT16 if gpus else Precision.FLOAT32)


def adapter(**lora: Any) -> AdapterSpec:
    made = resources.adapter("cardiology-v1")["spec"]
    return AdapterSpec.model_validate({**made, "lora": {**made["lora"], **lora}})


FITTING: list[tuple[dict[str, Any], str | None]] = [
    ({"targetModules": ["all-linear"], "rank": 128}, None),
    ({"targetModules": ["self_attn.q_proj", "down_proj"]}, None),
    ({"rank": 129}, "has rank 129: TGI's kernels take 128 at most"),
    ({"rank": 512}, "has rank 512: TGI's kernels take 128 at most"),
    ({"targetModules": ["q_proj", "lm_head"]}, "adapts lm_head, which TGI would leave out"),
]


@pytest.mark.parametrize(("lora", "expected"), FITTING)
def test_an_adapter_that_it_would_not_apply_is_not_given_to_it(lora: dict[str, Any], expected: str | None) -> None:
    why = engines.unfit(spec(), adapter(**lora))
    assert why is None if expected is None else expected in (why or "")
