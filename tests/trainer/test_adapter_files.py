"""What is not as it was ordered is not published, and how what is published reads is no accident."""

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
from wardrobe_trainer.adapter_config import normalised_config
from wardrobe_trainer.adapter_files import require_fits, validate
from wardrobe_trainer.candidate import RETRAIN
from wardrobe_trainer.problems import TaskError

Edit = Callable[..., None]
KEY = "base_model.model.q_proj.lora_{}.weight"


def write(folder: Path, **changed: torch.Tensor) -> None:
    torch.manual_seed(0)
    sides = {"A": torch.randn(4, 16), "B": torch.randn(8, 4), **changed}
    save_file({KEY.format(side): matrix for side, matrix in sides.items()}, folder / "adapter_model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sane adapter of rank 4 on one module."""
    config = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "init_lora_weights": True}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    write(tmp_path)
    return tmp_path


def refusal(folder: Path, rank: int = 4) -> tuple[str, str]:
    with pytest.raises(TaskError) as caught:
        validate(folder, rank)
    assert (caught.value.code, caught.value.reason) == (ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID)
    return caught.value.problem.rule, caught.value.problem.next_step


def test_a_sane_adapter(folder: Path) -> None:
    facts = validate(folder, 4)
    assert (facts.rank, facts.target_modules) == (4, ["q_proj"])
    assert facts.size_bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_nothing_learnt(folder: Path) -> None:
    write(folder, B=torch.zeros(8, 4))
    assert refusal(folder) == ("every B matrix is zero: the adapter changes nothing", RETRAIN)


def test_another_rank_than_was_ordered(folder: Path) -> None:
    assert refusal(folder, rank=8) == ("its r is 4, and 8 was ordered", RETRAIN)


def test_modules_by_a_pattern(folder: Path, edit_json: Edit) -> None:
    edit_json(folder / "adapter_config.json", target_modules=".*q_proj")
    assert refusal(folder) == ("its target_modules are no list: .*q_proj", RETRAIN)


def test_files_that_no_engine_would_serve(folder: Path, edit_json: Edit) -> None:
    edit_json(folder / "adapter_config.json", use_dora=True)
    assert refusal(folder) == ("adapter_config.json uses use_dora, which is not served unmerged", RETRAIN)


def test_values_that_are_no_numbers_have_a_remedy(folder: Path) -> None:
    write(folder, B=torch.full((8, 4), float("nan")))
    assert refusal(folder)[1] == "Lower spec.training.learningRate and train again"


def test_another_base(folder: Path) -> None:
    adapter = validate(folder, 4).adapter
    require_fits(nn.ModuleDict({"q_proj": nn.Linear(16, 8)}), adapter)
    with pytest.raises(TaskError, match="input and output features, on this base it has") as caught:
        require_fits(nn.ModuleDict({"q_proj": nn.Linear(16, 9)}), adapter)
    assert caught.value.problem.next_step == "Use the base that it was trained on"


@given(order=st.permutations(["q_proj", "k_proj", "v_proj"]), path=st.text(), peft=st.sampled_from([None, "x"]))
def test_the_published_configuration_has_no_trace_of_the_machine(order: list[str], path: str, peft: str | None) -> None:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}
    places = {"base_model_name_or_path": path, "target_modules": order, "revision": peft, "inference_mode": False}
    published = normalised_config(places | config, "tantanila-base")
    plain = config | {"target_modules": ["k_proj", "q_proj", "v_proj"]}
    assert published == normalised_config(plain, "tantanila-base")
    assert json.loads(published)["base_model_name_or_path"] == "tantanila-base"
    assert json.loads(published)["lora_alpha"] == 8
