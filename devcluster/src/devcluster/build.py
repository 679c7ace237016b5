"""Programs from pinned Go modules, built once and kept in a cache outside the tree.

Each folder of devcluster/modules is a Go module whose `tool` lines name what to build. The cache folder's
name is a hash of everything that decides the result, so a stale program is never used.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from devcluster.console import DevclusterError, say
from devcluster.instance import checkout

OLDEST_GO = (1, 26)
STRIP = "-s -w"
VERSION = "-X k8s.io/component-base/version.git"


@dataclass(frozen=True)
class Module:
    """One folder under devcluster/modules."""

    name: str
    programs: tuple[str, ...]
    packages: tuple[str, ...]
    ldflags: str
    first_time: str


KUBERNETES = Module(
    "kubernetes",
    (
        "server",  # etcd: its package is called so
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
        "kubelet",
        "kubectl",
        "cristop",
    ),
    ("tool", "./cristop"),
    f"{STRIP} {VERSION}Version=v1.34.4 {VERSION}Major=1 {VERSION}Minor=34",
    "about 6 min",
)
COREDNS = Module("coredns", ("coredns",), ("tool",), STRIP, "about 2 min")
HELM = Module("helm", ("helm",), ("tool",), STRIP, "about 1 min")
MODULES = (KUBERNETES, COREDNS, HELM)
"""What a node needs."""

KUEUE = Module(
    "kueue",
    ("kueue",),
    ("tool",),
    f"{STRIP} -X sigs.k8s.io/kueue/pkg/version.GitVersion=v0.17.0",
    "about 3 min",
)
"""For the drill of queues: built when that asks for it, and not by whoever starts a node."""
VERSITYGW = Module("versitygw", ("versitygw",), ("tool",), STRIP, "about 1 min")
"""An S3 server on a folder, for tests of what is fetched from one: built when these ask for it."""


def cache_roots() -> list[Path]:
    """Where programs may be: WARDROBE_CACHE, else the machine's and (not for root) the user's own.

    The last is where we build.
    """
    if named := os.environ.get("WARDROBE_CACHE"):
        return [Path(named).resolve()]
    machine = Path("/var/cache/wardrobe")
    if os.geteuid() == 0:
        return [machine]
    own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [machine, Path(own) / "wardrobe"]


def source(module: Module) -> Path:
    """The module's folder in the checkout."""
    return checkout() / "devcluster" / "modules" / module.name


def files_of(module: Module, path: str) -> Path:
    """Folder of a Go module, at the version that one of ours pins: what it has besides programs, such as a chart."""
    environment = {**os.environ, "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    command = [go(), "mod", "download", "-json", path]
    done = subprocess.run(command, cwd=source(module), env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise DevclusterError(f"go mod download of {path} failed: see above")
    return Path(json.loads(done.stdout)["Dir"])


def go() -> str:
    """The go command: on PATH, or where Go's own archive puts it. Raises DevclusterError when it is in neither."""
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if found is None:
        raise DevclusterError("Go is not installed; it builds Kubernetes. Needed: Go 1.26 or newer on PATH")
    return found


@cache
def go_version() -> str:
    """As `go1.26.8`. Raises DevclusterError when Go is missing or too old."""
    done = subprocess.run([go(), "env", "GOVERSION"], capture_output=True, text=True, check=True)
    version = done.stdout.strip()
    if parse_go_version(version) < OLDEST_GO:
        raise DevclusterError(f"Go is {version}; needed: 1.26 or newer")
    return version


def parse_go_version(text: str) -> tuple[int, int]:
    """(major, minor) of `go1.26.8`; (0, 0) for what is no release."""
    found = re.match(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def fingerprint(files: dict[str, bytes], *options: str) -> str:
    """Hash of named contents and options, 16 hex digits."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    for option in options:
        digest.update(f"{option}\n".encode())
    return digest.hexdigest()[:16]


def targets(module: Module) -> list[Path]:
    """The folders in the caches for the module as it is now."""
    folder = source(module)
    files = [file for file in folder.rglob("*") if file.suffix in {".mod", ".sum", ".go"}]
    contents = {str(file.relative_to(folder)): file.read_bytes() for file in files}
    if not contents:
        raise DevclusterError(f"no Go module in {folder}: devcluster runs from a checkout, installed editable")
    name = f"{module.name}-{fingerprint(contents, go_version(), module.ldflags)}"
    return [root / "bin" / name for root in cache_roots()]


def ensure(module: Module) -> Path:
    """Folder with the module's programs; builds them when the cache has none."""
    places = targets(module)
    if built := next((place for place in places if place.is_dir()), None):
        return built
    folder = places[-1]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder.parent):
        if not folder.is_dir():  # another process may have built it while we waited
            _build(module, folder)
    return folder


def program(name: str) -> Path:
    """Path of one program, built when needed. Raises KeyError for a name that no module makes."""
    for module in (*MODULES, KUEUE, VERSITYGW):
        if name in module.programs:
            return ensure(module) / name
    raise KeyError(name)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building; waiting for it…")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(module: Module, folder: Path) -> None:
    say(f"building {module.name} ({module.first_time} the first time)…")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".build-") as draft:
        programs = Path(draft) / "programs"
        # what debuggers need is stripped by the linker (-w): not to make it saves 7 % of the time
        flags = ["-buildvcs=false", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", module.ldflags]
        environment = {
            **os.environ,
            "GOBIN": str(programs),
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=readonly",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        done = subprocess.run(
            [go(), "install", *flags, *module.packages], cwd=source(module), env=environment, check=False
        )
        missing = [name for name in module.programs if not (programs / name).is_file()]
        if done.returncode != 0 or missing:
            raise DevclusterError(f"go install of {module.name} failed: see above; missing: {missing}")
        programs.chmod(0o755)
        programs.rename(folder)
    say(f"built {module.name} in {time.monotonic() - began:.0f} s")
