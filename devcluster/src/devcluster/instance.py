"""Where an instance keeps its state: one folder each, outside the source tree.

An instance is either the node (name `node`, one per machine) or a control plane for tests (any number).
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.console import DevclusterError

NODE = "node"
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?")  # short: unix socket paths end at 107 bytes


def run_root() -> Path:
    """Folder of all instances: WARDROBE_RUN, else by who runs us (root: /var/lib, else the user's own)."""
    if named := os.environ.get("WARDROBE_RUN"):
        return Path(named).resolve()
    if os.geteuid() == 0:
        return Path("/var/lib/wardrobe-devcluster")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime or f"/tmp/user-{os.geteuid()}") / "wardrobe-devcluster"  # noqa: S108 - made 0700


def checkout() -> Path:
    """The source tree this tool runs from. The tool is always installed editable."""
    return Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Instance:
    """Names of the files of one instance; makes nothing by itself except in `create`."""

    name: str
    root: Path

    @property
    def folder(self) -> Path:
        """Everything of the instance, removed as a whole."""
        return self.root / self.name

    @property
    def kubeconfig(self) -> Path:
        """Credentials of cluster administrators."""
        return self.folder / "kubeconfig"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.folder / "pki"

    @property
    def logs(self) -> Path:
        """One file per daemon."""
        return self.folder / "log"

    @property
    def pids(self) -> Path:
        """One record per daemon, see processes.Record."""
        return self.folder / "pid"

    @property
    def volumes(self) -> Path:
        """Folders of local volumes, by namespace and claim."""
        return self.folder / "volumes"

    @property
    def state_file(self) -> Path:
        """What `up` found and decided: ports, owner, former sysctls."""
        return self.folder / "state.json"

    def create(self) -> None:
        """Make the empty folders, private to the user."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o755 if os.geteuid() == 0 else 0o700)
        self.folder.mkdir()
        for folder in (self.pki, self.logs, self.pids):
            folder.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def exists(self) -> bool:
        """Whether something of the instance is on disk."""
        return self.folder.is_dir()

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace the state in one step, so that a crash leaves the old or the new one."""
        draft = self.state_file.with_suffix(".new")
        draft.write_text(json.dumps(state, indent=1))
        draft.replace(self.state_file)

    def read_state(self) -> dict[str, Any]:
        """The state, empty when there is none or it is unreadable."""
        try:
            state = json.loads(self.state_file.read_text())
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}


def named(name: str) -> Instance:
    """The instance of that name under the run folder. Raises DevclusterError for a name that is no label."""
    if not NAME.fullmatch(name):
        raise DevclusterError(f"{name!r} is no name: up to 24 of a-z, 0-9 and -, no - at the ends")
    return Instance(name, run_root())


def all_instances() -> list[Instance]:
    """Every instance that has a folder."""
    root = run_root()
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return [Instance(folder.name, root) for folder in folders if folder.is_dir() and NAME.fullmatch(folder.name)]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of the run folder: two processes never change the same thing at once."""
    root = run_root()
    root.mkdir(parents=True, exist_ok=True, mode=0o755 if os.geteuid() == 0 else 0o700)
    with (root / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
