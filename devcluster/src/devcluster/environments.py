"""Python environments that pods run: one per member under /opt/wardrobe, mounted read-only by the node.

They use the system's Python and lie outside home folders, because a pod's user must be able to read them.
"""

import hashlib
import os
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from devcluster.console import DevclusterError, say
from devcluster.instance import checkout, locked

ROOT = Path("/opt/wardrobe")
PYTHON = Path("/usr/bin/python3.11")
STAMP = "wardrobe-stamp"


@dataclass(frozen=True)
class Member:
    """A part of the workspace that runs in pods, and the image that stands for its real one."""

    name: str
    package: str
    sources: tuple[str, ...]  # folders of the workspace that the environment holds a copy of
    entrypoint: tuple[str, ...]  # equal to that of the Dockerfile's target, a test compares

    @property
    def environment(self) -> Path:
        """Where the environment is, on the host and in pods."""
        return ROOT / self.name

    @property
    def image(self) -> str:
        """Reference of the development image."""
        return f"localhost/wardrobe-{self.name}:dev"


MEMBERS = {
    member.name: member
    for member in (
        Member("operator", "wardrobe", ("contracts", "operator"), ("wardrobe-operator",)),
        Member("trainer", "wardrobe-trainer", ("contracts", "models", "trainer_image"), ("wardrobe-trainer",)),
        Member("gateway", "wardrobe-gateway", ("contracts", "gateway"), ("wardrobe-router",)),
        Member("engine", "wardrobe-engine", ("contracts", "models", "engine_image"), ("wardrobe-engine",)),
    )
}
PACKAGES = {
    "contracts": "wardrobe-contracts",
    "operator": "wardrobe",
    "models": "wardrobe-models",
    "trainer_image": "wardrobe-trainer",
    "gateway": "wardrobe-gateway",
    "engine_image": "wardrobe-engine",
}


def chosen(names: Iterable[str]) -> list[Member]:
    """Members by name, all of them for no names. Raises DevclusterError for an unknown one."""
    wanted = list(names) or list(MEMBERS)
    unknown = [name for name in wanted if name not in MEMBERS]
    if unknown:
        raise DevclusterError(f"no member {', '.join(unknown)}; there are {', '.join(MEMBERS)}", status=2)
    return [MEMBERS[name] for name in wanted]


def source_files(tree: Path, member: Member) -> list[Path]:
    """Files that decide what the environment holds."""
    found = [tree / "uv.lock", tree / "pyproject.toml"]
    for folder in member.sources:
        found.append(tree / folder / "pyproject.toml")
        found += (file for file in (tree / folder / "src").rglob("*") if file.is_file())
    return sorted(file for file in found if "__pycache__" not in file.parts and file.exists())


def stamp(tree: Path, member: Member) -> str:
    """Hash of names and contents of the sources."""
    digest = hashlib.sha256()
    for file in source_files(tree, member):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(tree)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def sync(names: Iterable[str] = (), *, tree: Path | None = None, root: Path = ROOT) -> list[Member]:
    """Bring the environments below `root` up to date with the sources; those that are so already take no time."""
    members = chosen(names)
    with locked("environments"):
        for member in members:
            _sync_one(tree or checkout(), member, root / member.name)
    return members


def _sync_one(tree: Path, member: Member, environment: Path) -> None:
    mark = environment / STAMP
    wanted = stamp(tree, member)
    if mark.is_file() and mark.read_text() == wanted:
        return
    first = not mark.exists()
    note = " (a few GB: the first time takes minutes)" if first and member.name in {"trainer", "engine"} else ""
    say(f"making the environment {environment}{note}…")
    began = time.monotonic()
    mark.unlink(missing_ok=True)
    former = os.umask(0o022)  # pods of any user read it
    try:
        _install(tree, member, environment)
        compile_all(environment)
        mark.write_text(wanted)
    finally:
        os.umask(former)
    say(f"made {environment} in {time.monotonic() - began:.0f} s")


def _install(tree: Path, member: Member, environment: Path) -> None:
    # uv sees no change of a member's sources, only of its pyproject.toml: always install ours anew.
    anew = [option for folder in member.sources for option in ("--reinstall-package", PACKAGES[folder])]
    uv_sync(tree, environment, ["--no-dev", "--no-editable", "--package", member.package, *anew])


def uv_sync(project: Path, target: Path, options: list[str]) -> None:
    """What a lock says, with uv. Raises DevclusterError."""
    uv = str(checkout() / "tools" / "uv")
    command = [uv, "sync", "--frozen", "--quiet", "--python", str(PYTHON), *options]
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment |= {"UV_PROJECT_ENVIRONMENT": str(target), "UV_PYTHON_PREFERENCE": "only-system"}
    if subprocess.run(command, cwd=project, env=environment, check=False).returncode != 0:
        raise DevclusterError(f"uv sync for {target} failed: see above")


def compile_all(environment: Path) -> None:
    """Pods cannot write: without bytecode every start would compile torch again (10 s and more)."""
    python, library = str(environment / "bin/python"), str(environment / "lib")
    subprocess.run([python, "-m", "compileall", "-q", "-j", "0", library], check=False, stdout=subprocess.DEVNULL)
