"""What an image must not hold. Names of files in, complaints out; only `walk` and `locked` read files."""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

USER = 10001
WORLD_WRITABLE = {"tmp", "var/tmp", "run/lock"}
TOOLS = {"uv", "uvx", "pip", "pip3", "pip3.11", "cc", "gcc", "g++", "ld", "as", "make", "git", "curl", "wget"}
COMPILES = {"trainer": {"cc", "gcc", "ld", "as"}}
"""Tools that stay, by member: Triton compiles a module in C at the first step on a GPU (see compiles.py)."""
CACHES = ("tmp/", "var/tmp/", "var/lib/apt/lists/", "var/cache/apt/", "var/log/")
OF_THE_BUILD = ("source", "opt/uv", "root/.cache", "usr/local/share/ca-certificates/")
HEAVY = {"torch", "nvidia", "triton", "transformers", "bitsandbytes"}
WITH_TORCH = {"trainer", "engine"}
INSTALLED = re.compile(r".*/site-packages/(?P<name>[^/]+)-(?P<version>[^/-]+)\.dist-info")


@dataclass(frozen=True)
class Entry:
    """One file, folder or link of an image, by its path from the root."""

    path: str
    mode: int
    owner: int
    group: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name

    @property
    def folder(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.mode)

    @property
    def link(self) -> bool:
        """Whether it is a symbolic one."""
        return stat.S_ISLNK(self.mode)


Rule = Callable[[Entry], str | None]


def walk(root: Path) -> Iterator[tuple[Entry, int]]:
    """Every entry below a folder with its bytes, symbolic links not followed; a file of two names counts once."""
    seen: set[int] = set()
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            file = Path(folder, name)
            found = file.lstat()
            size = found.st_size if stat.S_ISREG(found.st_mode) and found.st_ino not in seen else 0
            seen.add(found.st_ino)
            yield Entry(str(file.relative_to(root)), found.st_mode, found.st_uid, found.st_gid), size


def locked(lock: Path) -> set[tuple[str, str]]:
    """Name and version of every package of the lock."""
    packages = tomllib.loads(lock.read_text())["package"]
    return {(package["name"], package["version"]) for package in packages if "version" in package}


def complaints(member: str, entries: Iterable[Entry], lock: set[tuple[str, str]]) -> list[str]:
    """What is wrong with a member's image, a line each."""
    rules: list[Rule] = [_left_over, _writable, _unreadable, _test, partial(_unlocked, lock)]
    rules.append(partial(_tool, TOOLS - COMPILES.get(member, set())))
    if member not in WITH_TORCH:
        rules.append(_heavy)
    return [f"{said}: /{entry.path}" for entry in entries for rule in rules if (said := rule(entry))]


def _left_over(entry: Entry) -> str | None:
    if entry.path.startswith(OF_THE_BUILD):
        return "left from the build"
    return "a cache or log" if entry.path.startswith(CACHES) and not entry.folder else None


def _writable(entry: Entry) -> str | None:
    if entry.link or stat.S_ISCHR(entry.mode) or entry.path in WORLD_WRITABLE:
        return None
    if USER in (entry.owner, entry.group):
        return "belongs to the user that runs it"
    return "everybody may write" if entry.mode & stat.S_IWOTH else None


def _unreadable(entry: Entry) -> str | None:
    wanted = 0o005 if entry.folder else 0o004
    ours = entry.path.startswith("opt/wardrobe") and not entry.link
    return "cannot be read by the user that runs it" if ours and entry.mode & wanted != wanted else None


def _tool(tools: set[str], entry: Entry) -> str | None:
    if entry.folder and entry.path.endswith(("-packages/pip", "-packages/uv")):
        return "a tool of the build"
    executable = not entry.folder and (entry.link or bool(entry.mode & 0o111))
    return "a tool of the build" if executable and entry.name in tools else None


def _test(entry: Entry) -> str | None:
    """Tests of ours; what other packages bring is theirs."""
    ours = re.match(r"opt/wardrobe/.*/site-packages/wardrobe[^/]*/(.*/)?tests?(/|$)", entry.path)
    return "a test" if ours else None


def _heavy(entry: Entry) -> str | None:
    found = entry.folder and entry.name in HEAVY and entry.path.endswith(f"site-packages/{entry.name}")
    return "a package of trainer and engine" if found else None


def _unlocked(lock: set[tuple[str, str]], entry: Entry) -> str | None:
    found = INSTALLED.fullmatch(entry.path)
    if not found or not entry.folder:
        return None
    name = re.sub(r"[-_.]+", "-", found["name"]).lower()
    return None if (name, found["version"]) in lock else "not a version of uv.lock"
