"""The Dockerfile before it is built: its targets are the development cluster's images."""

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster import images
from devcluster.environments import MEMBERS, Member

REPOSITORY = Path(__file__).parents[2]
EVERY = pytest.mark.parametrize("member", MEMBERS.values(), ids=list(MEMBERS))


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions of each stage, as (name, rest)."""
    text = (REPOSITORY / "Dockerfile").read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    found: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for line in lines:
        name, rest = line.split(maxsplit=1)
        if name == "FROM":
            current = found.setdefault(rest.split(" AS ")[1], [])
        current.append((name, rest))
    return found


def settings(stage: list[tuple[str, str]]) -> dict[str, Any]:
    """What the stage says of the image, in the image's own words."""
    said = dict(stage)
    return {
        "Entrypoint": json.loads(said["ENTRYPOINT"]),
        "Env": shlex.split(said["ENV"]),
        "User": said["USER"],
        "WorkingDir": said["WORKDIR"],
    }


@EVERY
def test_a_target_runs_as_the_development_image_does(member: Member) -> None:
    assert settings(stages()[member.name]) == images.config(member)


@EVERY
def test_a_target_holds_its_members_environment_only(member: Member) -> None:
    stage = stages()[member.name]
    copied = [rest for name, rest in stage if name == "COPY"]
    assert copied == [f"--from={member.name}-environment {member.environment} {member.environment}"]
    (install,) = [rest for name, rest in stages()[f"{member.name}-environment"] if name == "RUN"]
    assert f"UV_PROJECT_ENVIRONMENT={member.environment} uv sync --locked --package {member.package} " in install


@EVERY
def test_only_the_trainer_gets_packages_of_its_own(member: Member) -> None:
    """A C compiler, its library's headers and Python's, as small as Debian has them."""
    installs = [rest for name, rest in stages()[member.name] if name == "RUN"]
    packages = [re.findall("--no-install-recommends (.+?) *&&", rest) for rest in installs]
    assert packages == ([["gcc libc6-dev libpython3.11-dev"]] if member.name == "trainer" else [])


@EVERY
def test_a_target_shares_nothing_with_the_build_but_python(member: Member) -> None:
    assert stages()[member.name][0] == ("FROM", f"python AS {member.name}")
    assert [name for name, _ in stages()["python"]] == ["FROM", "RUN"]


def test_the_build_sees_every_member_of_the_workspace_and_nothing_else() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    members = set(project["tool"]["uv"]["workspace"]["members"])
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    shown = {line.removeprefix("!").removesuffix("/pyproject.toml") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert shown == members | {"pyproject.toml", "uv.lock"}


def test_tgi_is_the_version_whose_facts_are_known_and_runs_as_an_ordinary_user() -> None:
    found = stages()["tgi"]
    assert found[0] == ("FROM", "${TGI} AS tgi")
    assert "ARG TGI=ghcr.io/huggingface/text-generation-inference:3.3.7\n" in (REPOSITORY / "Dockerfile").read_text()
    assert [rest for name, rest in found if name == "USER"] == ["root", "10001"]


def test_uv_is_pinned() -> None:
    (version,) = [rest for name, rest in stages()["build"] if name == "ARG"]
    assert re.fullmatch(r"UV=\d+\.\d+\.\d+", version)


def names(tree: ast.AST) -> Iterator[str]:
    """Every name that the code imports or reaches by a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "") + "." + alias.name for alias in node.names)


def test_no_code_needs_the_generated_classes_that_images_leave_out() -> None:
    removed = dict(stages()["build"])["ENV"]
    assert "kubernetes/aio/client/api" in removed
    sources = [file for part in ("operator", "gateway") for file in (REPOSITORY / part / "src").rglob("*.py")]
    used = {name for file in sources for name in names(ast.parse(file.read_text()))}
    assert "kubernetes.aio.client" in used
    assert not [name for name in used if re.search(r"[a-z0-9]Api$|kubernetes\..*client\.api\b", name)]
