"""What engines cannot serve is refused before a pod is made, or before an adapter is in the set."""

from dataclasses import replace
from typing import Any

import pytest
from support import resources, results
from support.fake_cluster import SETTINGS

from wardrobe import engines
from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentResource, AdapterDeploymentSpec, EngineSpec
from wardrobe.api.meta import Manifest
from wardrobe_contracts.base import BaseLocation
from wardrobe_contracts.engines import EngineType

BASE = BaseLocation(folder="/wardrobe/base", fingerprint=f"sampled:{resources.BASE_DIGEST}")
SHAPE = resources.base_to_build_on().shape
"""8 attention heads, 4 of keys and values, 1,024 tokens."""


def spec(engine: dict[str, Any], quantization: str = "None") -> AdapterDeploymentSpec:
    written = resources.deployment(spec={"engine": engine, "quantization": quantization}, cardiology="cardiology-v1")
    return AdapterDeploymentResource.parse(resources.stored(written)).spec


def options(container: Manifest) -> dict[str, str]:
    """Options with their values; one that has none has the next option."""
    arguments = container["args"]
    return dict(zip(arguments, [*arguments[1:], ""], strict=True))


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ({}, EngineType.TRANSFORMERS),
        ({"gpus": 1}, EngineType.TGI),
        ({"type": "Transformers", "gpus": 1}, EngineType.TRANSFORMERS),
        ({"type": "TGI"}, EngineType.TGI),
        ({"type": "VLLM", "gpus": 4}, EngineType.VLLM),
    ],
)
def test_the_engine_is_tgi_where_there_are_gpus(engine: dict[str, Any], expected: EngineType) -> None:
    assert EngineSpec.model_validate(engine).effective_type is expected


@pytest.mark.parametrize(
    ("engine", "quantization", "why"),
    [
        ({"type": "VLLM"}, "None", None),
        ({"type": "VLLM", "gpus": 4, "contextLength": 1024}, "None", None),
        ({"type": "VLLM", "gpus": 8}, "None", None),
        ({"type": "VLLM", "gpus": 1}, "INT8", "spec.quantization is INT8: vLLM has no bitsandbytes"),
        ({"type": "VLLM", "gpus": 1}, "NF4", "spec.quantization is NF4"),
        ({"type": "VLLM", "gpus": 3}, "None", "spec.engine.gpus is 3: vLLM divides the base's 8 attention heads and 4"),
        ({"type": "VLLM", "gpus": 16}, "None", "spec.engine.gpus is 16"),
        ({"type": "VLLM", "contextLength": 1025}, "None", "spec.engine.contextLength is 1025, and the base was made"),
        ({"type": "Transformers", "contextLength": 4096}, "NF4", "was made for 1024 tokens"),
        ({"type": "Transformers", "gpus": 1}, "INT8", None),
        ({"type": "Transformers", "gpus": 2}, "None", "spec.engine.gpus is 2: Transformers holds the base on one GPU"),
    ],
)
def test_what_an_engine_cannot_serve(engine: dict[str, Any], quantization: str, why: str | None) -> None:
    said = engines.unservable(spec(engine, quantization), SHAPE, SETTINGS)
    assert said == why if why is None else why in str(said)


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ({"type": "TGI", "gpus": 1}, "spec.engine.type is TGI, and the operator has no image of it: set "
         "images.engines.TGI in the chart's values"),
        ({"gpus": 1}, "spec.engine.type is TGI (by default, as spec.engine.gpus is not 0), and the operator has no"),
        ({"type": "VLLM"}, "set images.engines.VLLM in the chart's values"),
        ({"type": "Transformers", "gpus": 1}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_an_engine_that_the_operator_has_no_image_of(engine: dict[str, Any], expected: str | None) -> None:
    own_only = replace(SETTINGS, engine_images={EngineType.TRANSFORMERS: "engine"})
    said = engines.unservable(spec(engine), SHAPE, own_only)
    assert said is None if expected is None else expected in str(said)


@pytest.mark.parametrize(
    ("engine", "rank", "why"),
    [
        ("VLLM", 64, None),
        ("VLLM", 65, "has rank 65: with engine.type VLLM it may be 64 at most"),
        ("VLLM", 512, "has rank 512"),
        ("Transformers", 512, None),
    ],
)
def test_adapters_that_an_engine_does_not_take(engine: str, rank: int, why: str | None) -> None:
    written = resources.adapter("cardiology-v1")
    written["spec"]["lora"]["rank"] = rank
    said = engines.unfit(spec({"type": engine}), AdapterResource.parse(resources.stored(written)).spec)
    assert said == why if why is None else why in str(said)


@pytest.mark.parametrize(
    ("modules", "why"),
    [
        (["all-linear"], None),
        (["q_proj", "layers.0.mlp.up_proj"], None),
        (["q_proj", "lm_head"], "has targetModules lm_head: with engine.type VLLM they may be c_fc"),
    ],
)
def test_layers_that_vllm_does_not_adapt(modules: list[str], why: str | None) -> None:
    written = resources.adapter("cardiology-v1")
    written["spec"]["lora"]["targetModules"] = modules
    said = engines.unfit(spec({"type": "VLLM"}), AdapterResource.parse(resources.stored(written)).spec)
    assert said == why if why is None else why in str(said)


def test_a_base_whose_layers_vllm_is_not_told() -> None:
    other = SHAPE.model_copy(update={"model_type": "gpt_neox"})
    assert "the base's model_type is gpt_neox" in str(engines.unservable(spec({"type": "VLLM"}), other, SETTINGS))
    assert engines.unservable(spec({"type": "Transformers"}), other, SETTINGS) is None


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (
            {"gpus": 2},
            {"--dtype": "bfloat16", "--tensor-parallel-size": "2", "--max-num-seqs": "32", "--max-loras": "32"},
        ),
        (
            {"contextLength": 512, "maxConcurrentRequests": 8},
            {"--dtype": "float32", "--max-model-len": "512", "--max-num-seqs": "8", "--max-loras": "8"},
        ),
        ({"maxConcurrentRequests": 200}, {"--max-num-seqs": "200", "--max-loras": "32", "--max-cpu-loras": "64"}),
        ({"gpus": 1, "adapterMemory": "1Mi"}, {"--max-num-seqs": "32", "--max-loras": "1"}),
    ],
)
def test_vllm_is_told_what_the_spec_says(engine: dict[str, Any], expected: dict[str, str]) -> None:
    made = options(engines.container(spec({"type": "VLLM", **engine}), BASE, SHAPE, SETTINGS))
    assert {name: made[name] for name in expected} == expected


def test_vllm_makes_the_same_pod_for_any_adapters() -> None:
    few = resources.deployment(spec={"engine": {"type": "VLLM"}}, a="a-v1")
    many = resources.deployment(spec={"engine": {"type": "VLLM"}}, **{f"d{number}": "a-v1" for number in range(64)})
    one, other = (AdapterDeploymentResource.parse(resources.stored(found)).spec for found in (few, many))
    assert engines.container(one, BASE, SHAPE, SETTINGS) == engines.container(other, BASE, SHAPE, SETTINGS)


def test_the_embedded_engine_is_told_what_the_spec_says() -> None:
    made = options(engines.container(spec({"contextLength": 512, "maxConcurrentRequests": 8}), BASE, SHAPE, SETTINGS))
    assert (made["--max-total-tokens"], made["--max-batch"]) == ("512", "8")
    assert "--max-batch" not in options(engines.container(spec({}), BASE, SHAPE, SETTINGS))


def test_the_shape_is_the_one_that_the_cases_are_made_for() -> None:
    assert (SHAPE.attention_heads, SHAPE.key_value_heads) == (8, 4)
    assert SHAPE.context_length == results.SHAPE.context_length == 1024


PRELUDE = "{% set enable_thinking = false %}\n"


@pytest.mark.parametrize("engine", EngineType)
def test_every_engine_is_told_what_stands_before_the_chat_template(engine: EngineType) -> None:
    """The texts that adapters were trained on; without anything before it each reads the base's own template."""
    told = [*_words(engine, PRELUDE)]
    at = told.index("--chat-prelude")
    assert told[at + 1] == PRELUDE
    assert not any("chat" in word for word in _words(engine, ""))


def test_vllm_reads_the_template_that_the_wrapper_writes() -> None:
    made = engines.container(spec({"type": "VLLM"}), BASE.model_copy(update={"chat_prelude": PRELUDE}), SHAPE, SETTINGS)
    at = made["command"].index("--chat-template")
    assert made["command"][at + 1 : at + 3] == [BASE.folder, options(made)["--chat-template"]]


def _words(engine: EngineType, prelude: str) -> list[str]:
    base = BASE.model_copy(update={"chat_prelude": prelude})
    made = engines.container(spec({"type": engine.value}), base, SHAPE, SETTINGS)
    return [*made["command"], *made.get("args", [])]
