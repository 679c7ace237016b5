"""crds/ and the chart's copies are what `make kinds` writes from crds/source."""

from pathlib import Path

import pytest
from tools import kinds

KIND = "spec:\n  properties:\n    $fragment: state\n    run: {type: string}\n"
STATE = "conditions:\n  items:\n    $fragment: item\n"


@pytest.mark.parametrize("folder", kinds.WRITTEN_TO, ids=lambda folder: folder.parent.name)
def test_the_committed_files_are_current(folder: Path) -> None:
    assert kinds.stale(folder) == [], "change crds/source, not these files, then run `make kinds`"


def test_missing_changed_and_orphaned_files_are_stale(tmp_path: Path) -> None:
    for name, text in kinds.render().items():
        (tmp_path / name).write_text(text)
    assert kinds.stale(tmp_path) == []
    (tmp_path / "adapters.yaml").unlink()
    (tmp_path / "basemodels.yaml").write_text("kind: CustomResourceDefinition\n")
    (tmp_path / "forgotten.yaml").write_text("")
    assert kinds.stale(tmp_path) == ["adapters.yaml", "basemodels.yaml", "forgotten.yaml"]


def test_a_fragment_stands_where_it_is_named_at_its_depth(tmp_path: Path) -> None:
    (tmp_path / "fragments").mkdir()
    for name, text in {"kind": KIND, "fragments/state": STATE, "fragments/item": "type: object\n"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    assert kinds.render(tmp_path) == {
        "kind.yaml": kinds.HEADER + "spec:\n"
        "  properties:\n"
        "    conditions:\n"
        "      items:\n"
        "        type: object\n"
        "    run: {type: string}\n"
    }


def test_a_fragment_that_there_is_not_is_named(tmp_path: Path) -> None:
    (tmp_path / "kind.yaml").write_text("$fragment: stat\n")
    with pytest.raises(FileNotFoundError, match=r"fragments/stat\.yaml"):
        kinds.render(tmp_path)
