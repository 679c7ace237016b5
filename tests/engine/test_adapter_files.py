"""What is refused, and with which words."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from wardrobe_contracts.base import Variant
from wardrobe_engine import adapter_files
from wardrobe_engine.loading import load
from wardrobe_engine.model import Model

from .conftest import MODEL, Served

WEIGHTS = "adapter_model.safetensors"
Damage = Callable[[Path], None]


def config(**changes: object) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def lose_a_layer(folder: Path) -> None:
    held = load_file(folder / WEIGHTS)
    save_file(
        {name: matrix for name, matrix in held.items() if ".layers.0.self_attn.q_proj." not in name}, folder / WEIGHTS
    )


DAMAGES: dict[str, tuple[Damage, str]] = {
    "not served": (config(use_dora=True), "use_dora"),
    "not whole": (lose_a_layer, "lacks model.layers.0.self_attn.q_proj"),
    "too large once scaled": (config(lora_alpha=1e300), "do not fit float32"),
    "another base": (config(base_model_name_or_path="other-base"), "trained on the base 'other-base'"),
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
