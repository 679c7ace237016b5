"""Whatever is wrong with an adapter's files is found, by the one that publishes and by the one that serves."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from wardrobe_models.adapter_files import (
    AdapterFaultError,
    AdapterMissingError,
    NotFiniteError,
    linear_features,
    read,
    require_fits,
)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MODULES = [f"layers.{layer}.self_attn.q_proj" for layer in (0, 1)]
SIDES = {"A": (4, 16), "B": (8, 4)}
Damage = Callable[[Path], object]


def key(layer: int, side: str) -> str:
    return f"base_model.model.{MODULES[layer]}.lora_{side}.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sane adapter of rank 4 on two modules, with fields that PEFT writes and that change nothing."""
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.1,
        "target_modules": ["q_proj"],
        "init_lora_weights": True,
        "inference_mode": True,
        "use_dora": False,
        "rank_pattern": {},
    }
    (tmp_path / CONFIG).write_text(json.dumps(config))
    torch.manual_seed(0)
    tensors = {key(layer, side): torch.randn(shape) for layer in (0, 1) for side, shape in SIDES.items()}
    save_file(tensors, tmp_path / WEIGHTS)
    return tmp_path


def config(**changes: object) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / CONFIG
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        change(held)
        save_file(held, folder / WEIGHTS)

    return damage


def replaced(name: str, value: torch.Tensor) -> Damage:
    return tensors(lambda held: held.update({name: value}))


def truncated(size: int) -> Damage:
    return lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:size])


def text(written: str) -> Damage:
    return lambda folder: (folder / CONFIG).write_text(written)


MISSHAPEN = "rank 4 needs A of (4, inputs) and B of (outputs, 4)"
FAULTS: dict[str, tuple[Damage, str]] = {
    "another method": (config(peft_type="LOHA"), "peft_type is 'LOHA', only LORA"),
    "another task": (config(task_type="SEQ_CLS"), "only CAUSAL_LM"),
    "dora": (config(use_dora=True), "use_dora"),
    "bias": (config(bias="all"), "bias"),
    "lora bias": (config(lora_bias=True), "lora_bias"),
    "saved modules": (config(modules_to_save=["lm_head"]), "modules_to_save"),
    "trained tokens": (config(trainable_token_indices=[1]), "trainable_token_indices"),
    "ranks of their own": (config(rank_pattern={"q_proj": 4}), "rank_pattern"),
    "scales of their own": (config(alpha_pattern={"q_proj": 4}), "alpha_pattern"),
    "transposed": (config(fan_in_fan_out=True), "fan_in_fan_out"),
    "changed base": (config(init_lora_weights="pissa"), "presumes another base"),
    "of a later PEFT": (config(use_magic=True), "use_magic"),
    "rank is no number": (config(r="eight"), "rank"),
    "no rank": (config(r=0), "r is 0, a rank is a whole number above 0"),
    "rank differs": (config(r=16), "rank 16 needs"),
    "not JSON": (text("{"), f"{CONFIG} cannot be read"),
    "nested too deep": (text("[" * 100_000), f"{CONFIG} cannot be read"),
    "no object": (text("[]"), f"{CONFIG} is no object"),
    "empty weights": (truncated(0), f"{WEIGHTS} cannot be read"),
    "half a header": (truncated(100), f"{WEIGHTS} cannot be read"),
    "truncated weights": (truncated(-1), f"{WEIGHTS} cannot be read"),
    "no tensor": (tensors(lambda held: held.clear()), "has no tensor"),
    "one matrix of two": (tensors(lambda held: held.pop(key(1, "B"))), f"{MODULES[1]} has matrices"),
    "A of another rank": (replaced(key(0, "A"), torch.ones(2, 16)), MISSHAPEN),
    "B of another rank": (replaced(key(0, "B"), torch.ones(8, 2)), MISSHAPEN),
    "no matrix": (replaced(key(0, "A"), torch.ones(4)), MISSHAPEN),
    "not gathered by ZeRO-3": (replaced(key(0, "A"), torch.ones(4, 0)), MISSHAPEN),
    "nothing gathered": (replaced(key(0, "B"), torch.ones(0)), MISSHAPEN),
    "a whole layer": (
        replaced("base_model.model.lm_head.weight", torch.ones(4, 4)),
        "lm_head.weight, which is no LoRA",
    ),
    "without PEFT's prefix": (replaced("layers.0.q_proj.lora_A.weight", torch.ones(4, 4)), "which is no LoRA matrix"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_served_is_refused(name: str, folder: Path) -> None:
    damage, words = FAULTS[name]
    damage(folder)
    with pytest.raises(AdapterFaultError) as caught:
        read(folder)
    assert words in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("side", SIDES)
def test_values_that_are_no_numbers(folder: Path, side: str, value: float) -> None:
    tensors(lambda held: held[key(1, side)][2].fill_(value))(folder)
    with pytest.raises(NotFiniteError, match=f"{MODULES[1]}, one of 1 such modules"):
        read(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(AdapterMissingError, match=name):
        read(folder)


def test_a_file_in_the_folders_place(folder: Path) -> None:
    with pytest.raises(AdapterMissingError):
        read(folder / CONFIG)


def base() -> nn.Module:
    """A model with the adapter's modules and others."""

    def layer() -> nn.Module:
        return nn.ModuleDict({"self_attn": nn.ModuleDict({"q_proj": nn.Linear(16, 8)}), "norm": nn.LayerNorm(16)})

    return nn.ModuleDict({"layers": nn.ModuleList([layer(), layer()]), "lm_head": nn.Linear(16, 99)})


def test_an_adapter_of_this_base(folder: Path) -> None:
    found, features = read(folder), linear_features(base())
    assert features == {**dict.fromkeys(MODULES, (16, 8)), "lm_head": (16, 99)}
    assert found.features == dict.fromkeys(MODULES, (16, 8))
    require_fits(found, features)


UNFIT: dict[str, tuple[Damage, str]] = {
    "a layer lost": (
        tensors(lambda held: [held.pop(key(1, side)) for side in SIDES]),
        f"lacks {MODULES[1]}, one of 1 that its config targets",
    ),
    "a layer too many": (
        tensors(
            lambda held: held.update({f"base_model.model.x.lora_{side}.weight": torch.zeros(4, 4) for side in SIDES})
        ),
        "it adapts x, which is no linear layer",
    ),
    "another width": (
        replaced(key(0, "A"), torch.ones(4, 300)),
        f"it adapts {MODULES[0]} with (300, 8) input and output features, on this base it has (16, 8)",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_adapter_that_does_not_fit(name: str, folder: Path) -> None:
    damage, words = UNFIT[name]
    damage(folder)
    with pytest.raises(AdapterFaultError) as caught:
        require_fits(read(folder), linear_features(base()))
    assert words in str(caught.value)


ACTED_UPON = (
    "r",
    "lora_alpha",
    "use_rslora",
    "target_modules",
    "exclude_modules",
    "layers_pattern",
    "layers_to_transform",
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from(["q_proj", "(", ".*", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["q_proj", "r"]), inner, max_size=2),
    max_leaves=4,
)


@given(changes=st.dictionaries(st.sampled_from([*ACTED_UPON, "init_lora_weights", "peft_type"]), VALUES, max_size=2))
@example(changes={"lora_alpha": 10**400})
@example(changes={"exclude_modules": 5})
@example(changes={"exclude_modules": "("})
@example(changes={"layers_pattern": 7, "layers_to_transform": [0]})
@example(changes={"layers_pattern": ["("], "layers_to_transform": [0]})
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the config is written anew each time
def test_whatever_a_strangers_config_says_is_understood_or_refused(changes: dict[str, object], folder: Path) -> None:
    text = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(json.dumps({**json.loads(text), **changes}))
    try:
        require_fits(read(folder), linear_features(base()))
    except AdapterFaultError:
        pass
    finally:
        (folder / CONFIG).write_text(text)
