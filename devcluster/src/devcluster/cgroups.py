"""The node's own control groups: `daemons` for what we start, and what kubelet makes for pods beside it.

Whatever a crash leaves behind is found here. On cgroup v1 there is one tree per controller: pods are in all
of them, daemons in `pids` alone, which is enough to find them.
"""

import os
import signal
from pathlib import Path

from devcluster.console import DevclusterError
from devcluster.waiting import until

DAEMONS = "daemons"


def hierarchies(mounts: str) -> dict[Path, str]:
    """Mount point and kind (`cgroup` or `cgroup2`) of every tree, from the text of /proc/mounts."""
    fields = [line.split() for line in mounts.splitlines()]
    return {Path(field[1]): field[2] for field in fields if field[2] in {"cgroup", "cgroup2"}}


def trees() -> list[Path]:
    """Mount points of this machine."""
    return list(hierarchies(Path("/proc/mounts").read_text()))


def unified() -> bool:
    """Whether this is cgroup v2 alone."""
    return hierarchies(Path("/proc/mounts").read_text()).get(Path("/sys/fs/cgroup")) == "cgroup2"


def create(name: str) -> Path:
    """Make the group in every tree; returns the folder that daemons join."""
    for tree in trees():
        (tree / name).mkdir(exist_ok=True)
        _inherit_cpuset(tree, tree / name)
    home = Path("/sys/fs/cgroup") if unified() else Path("/sys/fs/cgroup/pids")
    if not (home / name).is_dir():
        raise DevclusterError(f"no control group tree at {home}")
    if unified():
        _pass_controllers(home)
        _pass_controllers(home / name)
    daemons = home / name / DAEMONS
    daemons.mkdir(exist_ok=True)
    return daemons


def _inherit_cpuset(parent: Path, child: Path) -> None:
    """In the v1 cpuset tree a new group has no cores and takes no process."""
    for setting in ("cpuset.cpus", "cpuset.mems"):
        if (child / setting).exists() and not unified():
            (child / setting).write_text((parent / setting).read_text())


def _pass_controllers(group: Path) -> None:
    controllers = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _groups(name: str) -> list[Path]:
    """Folders of the group in every tree, deepest first."""
    tops = [tree / name for tree in trees() if (tree / name).is_dir()]
    return [Path(folder) for top in tops for folder, _, _ in os.walk(top, topdown=False)]


def processes(name: str) -> set[int]:
    """Pids in the group and below it."""
    found: set[int] = set()
    for group in _groups(name):
        try:
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
        except OSError:  # gone in the meantime
            continue
    return found - {0, os.getpid()}


def kill(name: str, *, seconds: float = 5) -> bool:
    """SIGKILL until the group is empty; False when something outlives that."""

    def emptied() -> bool:
        left = processes(name)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    return until(emptied, seconds=seconds)


def remove(name: str, *, seconds: float = 3) -> bool:
    """Remove the group from every tree; False when the kernel still holds on to some."""

    def removed() -> bool:
        for group in _groups(name):
            try:
                group.rmdir()
            except OSError:  # a process is still leaving
                continue
        return not _groups(name)

    return until(removed, seconds=seconds)
