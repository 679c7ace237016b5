"""The JSON Schemas in contracts/schemas are those of the models, and say what was left behind."""

from pathlib import Path

from wardrobe_contracts import schemas

FOLDER = Path(schemas.__file__).parents[2] / "schemas"


def test_committed_schemas_are_current() -> None:
    assert schemas.stale(FOLDER) == [], "run `make schemas`"


def test_missing_changed_and_orphaned_files_are_stale(tmp_path: Path) -> None:
    for name, text in schemas.render().items():
        (tmp_path / name).write_text(text)
    assert schemas.stale(tmp_path) == []
    (tmp_path / "Manifest.json").unlink()
    (tmp_path / "Probes.json").write_text("{}")
    (tmp_path / "Forgotten.json").write_text("{}")
    assert schemas.stale(tmp_path) == ["Forgotten.json", "Manifest.json", "Probes.json"]
