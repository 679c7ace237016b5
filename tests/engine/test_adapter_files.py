"""What is refused, and with which words."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from wardrobe_contracts.base import Variant
from wardrobe_engine import adapter_files
from wardrobe_engine.errors import AdapterFilesMissingError, BadAdapterError
from wardrobe_engine.loading import load
from wardrobe_engine.model import Model

from .conftest import MODEL, Served

WEIGHTS = "adapter_model.safetensors"
Q0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
Damage = Callable[[Path], None]


def config(**changes: object) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def damage(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        change(held)
        save_file(held, folder / WEIGHTS)

    return damage


def _overwrite(path: Path) -> None:
    path.write_text("{")


def truncate(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


DAMAGES: dict[str, tuple[Damage, str]] = {
    "another method": (config(peft_type="LOHA"), "only LORA is served"),
    "another task": (config(task_type="SEQ_CLS"), "only CAUSAL_LM"),
    "another base": (config(base_model_name_or_path="other-base"), "trained on the base 'other-base'"),
    "dora": (config(use_dora=True), "use_dora"),
    "bias": (config(bias="all"), "bias"),
    "lora bias": (config(lora_bias=True), "lora_bias"),
    "saved modules": (config(modules_to_save=["lm_head"]), "modules_to_save"),
    "ranks of their own": (config(rank_pattern={"q_proj": 4}), "rank_pattern"),
    "transposed": (config(fan_in_fan_out=True), "fan_in_fan_out"),
    "changed base": (config(init_lora_weights="pissa"), "presumes another base"),
    "of a later PEFT": (config(use_magic=True), "use_magic"),
    "rank is no number": (config(r="eight"), "rank"),
    "rank differs": (config(r=16), "rank 16 on this base needs"),
    "not JSON": (lambda folder: _overwrite(folder / "adapter_config.json"), "cannot be read"),
    "truncated": (truncate, "cannot be read"),
    "one matrix of two": (tensors(lambda held: held.pop(f"{Q0}B.weight")), "one of its two"),
    "a layer lost": (
        tensors(lambda held: [held.pop(f"{Q0}{side}.weight") for side in "AB"]),
        "lacks model.layers.0.self_attn.q_proj",
    ),
    "a layer too many": (
        tensors(
            lambda held: held.update({f"base_model.model.x.lora_{side}.weight": torch.zeros(8, 8) for side in "AB"})
        ),
        "adapts x, which is no linear layer",
    ),
    "another width": (
        tensors(lambda held: held.update({f"{Q0}A.weight": torch.zeros(8, 300)})),
        "has A of (8, 300)",
    ),
    "no LoRA matrix": (tensors(lambda held: held.update({"base_model.model.y": torch.zeros(1)})), "is no LoRA matrix"),
    "not a number": (
        tensors(lambda held: held[f"{Q0}B.weight"].fill_(float("nan"))),
        "holds values that are no numbers",
    ),
}


@pytest.fixture
def folder(tmp_path: Path, adapters: dict[str, Path]) -> Path:
    return Path(shutil.copytree(adapters["cardiology-v1.2"], tmp_path / "adapter"))


@pytest.mark.parametrize("name", DAMAGES)
def test_what_cannot_be_served_is_refused_and_nothing_changes(name: str, folder: Path, served: Served) -> None:
    damage, words = DAMAGES[name]
    before = served.text("cardiology-v1.2")
    damage(folder)
    refused = served.load("broken", folder, status=400).json()["error"]
    assert words in refused["message"]
    assert refused["type"] == "bad_adapter"
    served.generate("broken", status=404)
    assert served.text("cardiology-v1.2") == before


def test_files_that_are_missing(folder: Path, served: Served) -> None:
    (folder / WEIGHTS).unlink()
    served.load("broken", folder, status=404)
    served.load("broken", folder / "nowhere", status=404)


def test_the_base_may_go_by_its_name_or_by_none(folder: Path) -> None:
    features = Model(load(MODEL, Variant.NONE)).features
    for name in ("tantanila", None):
        config(base_model_name_or_path=name)(folder)
        assert adapter_files.read(folder, ("tantanila",), features).rank == 8
    config(r=0)(folder)
    with pytest.raises(BadAdapterError):
        adapter_files.read(folder, ("tantanila",), features)
    with pytest.raises(AdapterFilesMissingError):
        adapter_files.read(folder / "nowhere", ("tantanila",), features)
