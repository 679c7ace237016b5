"""Taking the node down: everything it started and made, also when it crashed or its folder is half gone.

Sandboxes end through CRI first, because the runtime knows best how. What is left after that is found by the
node's own control group and folder, and taken away by force.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

from devcluster import build, cgroups, network, processes
from devcluster.configs import BRIDGE
from devcluster.console import DevclusterError, say
from devcluster.instance import Instance
from devcluster.processes import Record

# What would start pods or processes again while we clean up.
RESTARTERS = frozenset({"kubelet", "controller-manager", "scheduler"})
SANDBOX_SECONDS = 4
GRACE_SECONDS = 1.0
# Fixed paths of kubelet, containerd and CNI outside the instance's folder. Removed only if `up` found none.
HOST_PATHS = tuple(
    Path(path) for path in ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/run/netns")
)

KUBELET_SOCKET = Path("/var/lib/kubelet/device-plugins/kubelet.sock")  # for device plugins; its path is fixed


def group(instance: Instance) -> str:
    """Name of the control group of all its processes."""
    return f"wardrobe-{instance.name}"


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Mount points in or under the folder, the last mounted first, from the text of /proc/self/mountinfo."""
    points = [line.split()[4].encode().decode("unicode_escape") for line in mountinfo.splitlines()]
    return [point for point in reversed(points) if Path(point).is_relative_to(folder)]


def leftovers(instance: Instance) -> list[str]:
    """What is there of the node, in words; empty when nothing is."""
    found = {
        "the folder": instance.exists(),
        "processes": bool(cgroups.processes(group(instance))),
        "control groups": any((tree / group(instance)).is_dir() for tree in cgroups.trees()),
        "mounts": bool(_mounts(instance.folder)),
        "the bridge": Path("/sys/class/net", BRIDGE).exists(),
    }
    return [name for name, there in found.items() if there]


def down(instance: Instance) -> bool:
    """Remove everything; True when there was something. Raises DevclusterError naming what resisted."""
    there = bool(leftovers(instance))
    state = instance.read_state()
    failures: list[str] = []
    steps: list[tuple[str, Callable[[], object]]] = [
        ("stop kubelet", lambda: processes.stop(_records(instance, restarters=True), grace=GRACE_SECONDS)),
        ("stop sandboxes", lambda: _stop_sandboxes(instance)),
        ("stop daemons", lambda: processes.stop(_records(instance, restarters=False), grace=GRACE_SECONDS)),
        ("kill what is left", lambda: _insist(cgroups.kill(group(instance)), "processes outlive SIGKILL")),
        ("remove shim sockets", lambda: _remove_shim_sockets(instance)),
        ("unmount", lambda: _unmount(instance.folder)),
        ("remove links and tables", network.remove),
        ("remove control groups", lambda: _insist(cgroups.remove(group(instance)), "control groups stay busy")),
        ("restore settings", lambda: network.restore_settings(state.get("settings", {}))),
        ("remove files elsewhere", lambda: _clean_host_paths(instance, state.get("made", []))),
    ]
    for name, step in steps:
        try:
            step()
        except (OSError, DevclusterError, subprocess.SubprocessError) as error:
            failures.append(f"{name}: {error}")
    if not _mounts(instance.folder):  # never delete through a mount
        instance.remove()
    _report(instance, failures)
    return there


def _report(instance: Instance, failures: list[str]) -> None:
    left = leftovers(instance)
    for failure in failures:
        say(f"down: {failure}")
    if left:
        raise DevclusterError(f"down left {', '.join(left)}; run it again")


def _insist(done: bool, complaint: str) -> None:
    if not done:
        raise DevclusterError(complaint)


def _records(instance: Instance, *, restarters: bool) -> list[Record]:
    return [record for record in processes.recorded(instance.pids) if (record.name in RESTARTERS) == restarters]


def _stop_sandboxes(instance: Instance) -> None:
    containerd = [record for record in processes.recorded(instance.pids) if record.name == "containerd"]
    if not any(processes.alive(record) for record in containerd):
        return  # crashed: what it left is killed below
    endpoint = f"unix://{instance.folder / 'containerd.sock'}"
    command = [str(build.program("cristop")), endpoint, f"{SANDBOX_SECONDS}s"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SANDBOX_SECONDS + 2, check=False)
    if done.returncode != 0:
        raise DevclusterError(done.stderr.strip() or done.stdout.strip())


def _mounts(folder: Path) -> list[str]:
    return mounts_below(folder, Path("/proc/self/mountinfo").read_text())


def _unmount(folder: Path) -> None:
    for _ in range(3):  # a lazy unmount may uncover what lay under it
        points = _mounts(folder)
        if not points:
            return
        for point in points:
            subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
    _insist(not _mounts(folder), f"still mounted: {_mounts(folder)}")


def _remove_shim_sockets(instance: Instance) -> None:
    """Shims of containerd 1.6 listen under /run/containerd/s, whatever the configured state folder is."""
    for file in (instance.folder / "state").glob("io.containerd.runtime.v2.task/*/*/address"):
        socket = Path(file.read_text().strip().removeprefix("unix://"))
        if socket.is_relative_to("/run/containerd/s"):
            socket.unlink(missing_ok=True)


def _clean_host_paths(instance: Instance, made: list[str]) -> None:
    for result in Path("/var/lib/cni/results").glob("*"):
        if str(instance.folder) in result.read_text():  # it names the network namespace, which is under our folder
            result.unlink(missing_ok=True)
    KUBELET_SOCKET.unlink(missing_ok=True)
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(instance.folder):
            link.unlink(missing_ok=True)
    for top in HOST_PATHS:
        if str(top) in made and top.is_dir():
            _remove_tree(top)


def _remove_tree(top: Path) -> None:
    """Folders that are empty, and sockets nobody serves; a file of anybody else keeps its folder."""
    folders = [top, *(path for path in top.rglob("*") if path.is_dir() and not path.is_symlink())]
    for folder in sorted(folders, reverse=True):
        for entry in folder.iterdir():
            if entry.is_socket():
                entry.unlink()
        try:
            folder.rmdir()
        except OSError:  # not empty, so not only ours
            continue
