"""Whatever is wrong with an adapter's files is found before they are published."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_trainer.adapter_files import normalised_config, require_fits, validate
from wardrobe_trainer.problems import TaskError

Edit = Callable[..., None]
KEY = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"


def matrices() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shapes = {"A": (4, 16), "B": (8, 4)}
    return {KEY.format(layer, side): torch.randn(shapes[side]) for layer in (0, 1) for side in "AB"}


def write(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sane adapter of rank 4 on two modules."""
    config = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "init_lora_weights": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    write(tmp_path, matrices())
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(TaskError) as caught:
        validate(folder, 4)
    assert (caught.value.code, caught.value.reason) == (ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID)
    return caught.value.problem.rule


def test_a_sane_adapter(folder: Path) -> None:
    facts = validate(folder, 4)
    assert facts.sides == {f"model.layers.{layer}.self_attn.q_proj": (16, 8) for layer in (0, 1)}
    assert facts.size_bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_nothing_learnt(folder: Path) -> None:
    write(folder, {name: value * (".lora_A." in name) for name, value in matrices().items()})
    assert "every B matrix is zero" in refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers(folder: Path, value: float) -> None:
    tensors = matrices()
    tensors[KEY.format(1, "B")][3, 2] = value
    write(folder, tensors)
    assert f"1 of 4 matrices hold values that are no numbers: {KEY.format(1, 'B')}" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (KEY.format(0, "A"), torch.ones(2, 16)),  # another rank
        (KEY.format(0, "B"), torch.ones(8, 2)),
        (KEY.format(0, "A"), torch.ones(4)),
        (KEY.format(0, "A"), torch.ones(4, 0)),  # what ZeRO-3 leaves when it is not gathered
        (KEY.format(0, "B"), torch.ones(0)),
    ],
)
def test_matrices_of_wrong_shape(folder: Path, name: str, value: torch.Tensor) -> None:
    write(folder, matrices() | {name: value})
    assert "expected A of (4, inputs) and B of (outputs, 4)" in refusal(folder)


def test_half_a_pair(folder: Path) -> None:
    tensors = matrices()
    del tensors[KEY.format(1, "B")]
    write(folder, tensors)
    assert "model.layers.1.self_attn.q_proj has matrices" in refusal(folder)


@pytest.mark.parametrize("name", ["base_model.model.lm_head.weight", "model.layers.0.q_proj.lora_A.weight"])
def test_tensors_that_are_no_lora(folder: Path, name: str) -> None:
    write(folder, matrices() | {name: torch.ones(4, 4)})
    assert f"{name}, which is no LoRA matrix" in refusal(folder)


def test_no_tensors(folder: Path) -> None:
    write(folder, {})
    assert "no tensor" in refusal(folder)


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_truncated_weights(folder: Path, size: int) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert "cannot be read" in refusal(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name} cannot be read" in refusal(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"target_modules": "all-linear"}'])
def test_a_damaged_configuration(folder: Path, text: str) -> None:
    (folder / "adapter_config.json").write_text(text)
    assert "adapter_config.json" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"r": 8}, "r 8, expected LORA and 4"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "another base's weights"),
    ],
)
def test_adapters_that_cannot_be_served(folder: Path, edit_json: Edit, changes: dict[str, object], said: str) -> None:
    edit_json(folder / "adapter_config.json", **changes)
    assert said in refusal(folder)


def test_another_base(folder: Path) -> None:
    base = nn.ModuleDict({"q_proj": nn.Linear(16, 8)})
    require_fits(base, {"q_proj": (16, 8)})
    for sides in ({"q_proj": (16, 9)}, {"k_proj": (16, 8)}):
        with pytest.raises(TaskError, match="input and output features, in the base it has"):
            require_fits(base, sides)


@given(order=st.permutations(["q_proj", "k_proj", "v_proj"]), path=st.text(), peft=st.sampled_from([None, "x"]))
def test_the_published_configuration_has_no_trace_of_the_machine(order: list[str], path: str, peft: str | None) -> None:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}
    places = {"base_model_name_or_path": path, "target_modules": order, "revision": peft, "inference_mode": False}
    published = normalised_config(places | config, "tantanila-base")
    plain = config | {"target_modules": ["k_proj", "q_proj", "v_proj"]}
    assert published == normalised_config(plain, "tantanila-base")
    assert json.loads(published)["base_model_name_or_path"] == "tantanila-base"
    assert json.loads(published)["lora_alpha"] == 8
