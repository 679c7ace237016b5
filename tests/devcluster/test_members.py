"""Images and environments of members."""

import io
import json
import os
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from devcluster import environments, images
from devcluster.console import DevclusterError
from devcluster.environments import MEMBERS, Member

REPOSITORY = Path(__file__).parents[2]
EVERY = pytest.mark.parametrize("member", MEMBERS.values(), ids=list(MEMBERS))


def workspace_members() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    members: list[str] = project["tool"]["uv"]["workspace"]["members"]
    return members


def config_of(archive: bytes) -> dict[str, object]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        manifest = json.load(tar.extractfile("manifest.json") or io.BytesIO())
        config: dict[str, object] = json.load(tar.extractfile(manifest[0]["Config"]) or io.BytesIO())["config"]
    return config


@EVERY
def test_image_is_tiny_and_equal_every_time(member: Member) -> None:
    assert images.member(member) == images.member(member)
    assert len(images.member(member)) < 40_000


@EVERY
def test_image_shows_only_its_members_environment(member: Member) -> None:
    config = config_of(images.member(member))
    assert config["User"] == "10001"
    assert f"PATH=/opt/wardrobe/{member.name}/bin:/usr/bin:/bin" in str(config["Env"])
    others = [other for other in MEMBERS if other != member.name]
    assert not [other for other in others if f"/opt/wardrobe/{other}" in str(config["Env"])]


def test_layer_is_independent_of_time_and_user() -> None:
    with tarfile.open(fileobj=io.BytesIO(images.layer([images.Entry("a"), images.Entry("b", b"x")]))) as tar:
        assert {(info.mtime, info.uid) for info in tar} == {(0, 0)}


def test_unknown_members_are_refused() -> None:
    with pytest.raises(DevclusterError) as refused:
        environments.chosen(["operator", "nobody"])
    assert refused.value.status == 2


def test_stamp_changes_with_sources_only(tmp_path: Path) -> None:
    member = MEMBERS["operator"]
    for folder in (*member.sources, "docs"):
        (tmp_path / folder / "src/p").mkdir(parents=True)
        (tmp_path / folder / "pyproject.toml").write_text("")
    before = environments.stamp(tmp_path, member)
    (tmp_path / "docs/src/p/a.py").write_text("1")
    (tmp_path / "operator/src/p/__pycache__").mkdir()
    (tmp_path / "operator/src/p/__pycache__/a.pyc").write_text("1")
    assert environments.stamp(tmp_path, member) == before
    (tmp_path / "contracts/src/p/a.py").write_text("1")
    assert environments.stamp(tmp_path, member) != before


@pytest.mark.node
@pytest.mark.skipif(os.geteuid() != 0, reason="environments are made under /opt by root")
def test_sync_brings_an_edit_into_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the workspace, so that the edit disturbs nobody."""
    monkeypatch.setenv("WARDROBE_RUN", str(tmp_path / "run"))
    root = tmp_path / "opt"
    tree = tmp_path / "tree"
    tree.mkdir()
    files = ["pyproject.toml", "uv.lock", "contracts", "operator"]
    files += [f"{other}/pyproject.toml" for other in workspace_members() if other not in files]
    subprocess.run(["cp", "-r", "--parents", *files, tree], cwd=REPOSITORY, check=True)
    environments.sync(["operator"], tree=tree, root=root)
    edited = tree / "contracts/src/wardrobe_contracts/__init__.py"
    edited.write_text(edited.read_text() + "\nEDITED = 42\n")
    environments.sync(["operator"], tree=tree, root=root)
    python = root / "operator/bin/python"
    code = "import wardrobe_contracts as c; print(c.EDITED, c.__file__)"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("42 ")
    assert str(root) in done.stdout
