"""Adapters that drills serve are those that this checkout would train now."""

from pathlib import Path
from typing import Any

import pytest
from support import kept_adapters, resources
from support.kept_adapters import Kept

DATA = {"rows.jsonl": "{}\n"}
SOURCES = (
    "uv.lock",
    "pyproject.toml",
    "contracts/src/wardrobe_contracts/order.py",
    "models/src/wardrobe_models/loading.py",
    "trainer_image/pyproject.toml",
    "trainer_image/src/wardrobe_trainer/train.py",
    "operator/src/wardrobe/run/lines.py",
    "model/config.json",
    "model/model.safetensors",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    return tmp_path


def digest(tree: Path, datasets: dict[str, str] = DATA, **spec: Any) -> str:
    return kept_adapters.digest(tree, tree / "model", datasets, [resources.base_model(), resources.run("a", **spec)])


@pytest.mark.parametrize("name", SOURCES)
def test_a_change_of_any_source_the_lock_or_the_base_is_another_digest(tree: Path, name: str) -> None:
    before = digest(tree)
    assert digest(tree) == before
    (tree / name).write_text("after")
    assert digest(tree) != before


def test_a_change_of_data_or_settings_is_another_digest(tree: Path) -> None:
    before = digest(tree)
    assert digest(tree, {"rows.jsonl": "{} \n"}) != before
    assert digest(tree, {"other.jsonl": "{}\n"}) != before
    assert digest(tree, training={"epochs": "2"}) != before


def test_what_does_not_train_is_no_change(tree: Path) -> None:
    before = digest(tree)
    for name in ("engine_image/src/wardrobe_engine/model.py", "README.md", "tests/cluster/test_story.py"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("after")
    assert digest(tree) == before


def test_only_what_was_kept_last_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROBE_CACHE", str(tmp_path / "cache"))
    store = tmp_path / "store"
    (store / "adapters/cardiology").mkdir(parents=True)
    (store / "adapters/cardiology/manifest.json").write_text("{}")
    (store / "runs").mkdir()
    adapters = [{"kind": "Adapter"}]
    assert kept_adapters.find("one") is None
    for key in ("one", "two"):
        kept_adapters.keep(key, Kept(store, adapters))
    assert kept_adapters.find("one") is None
    found = kept_adapters.find("two")
    assert found is not None
    assert found.adapters == adapters
    assert [str(file.relative_to(found.store)) for file in found.store.rglob("*") if file.is_file()] == [
        "adapters/cardiology/manifest.json"
    ]
