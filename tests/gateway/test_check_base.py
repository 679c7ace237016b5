"""The check of a base's files before an engine that does not check them itself."""

import shutil
from pathlib import Path

import pytest

from wardrobe_contracts.base_files import base_files
from wardrobe_contracts.digests import fingerprint
from wardrobe_gateway import check_base

MODEL = Path(__file__).parents[2] / "examples" / "tantanila" / "model"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL, tmp_path / "base"))


def run(base: Path, inspected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["wardrobe-check-base", "--folder", str(base), "--fingerprint", inspected])
    check_base.main()


def test_inspected_files_pass_and_changed_ones_are_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspected = fingerprint(base, base_files(base))
    run(base, inspected, monkeypatch)
    config = base / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(SystemExit, match="its files are not those that its BaseModel was inspected with"):
        run(base, inspected, monkeypatch)


def test_files_that_are_gone(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspected = fingerprint(base, base_files(base))
    shutil.rmtree(base)
    with pytest.raises(SystemExit, match=r"its files cannot be read: .*No such file"):
        run(base, inspected, monkeypatch)


def test_a_fingerprint_that_is_none(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(base, "sha256:12", monkeypatch)
    assert "--fingerprint sha256:12 is not allowed" in capsys.readouterr().err
