"""What a node could leave behind on the machine, to compare before and after."""

import json
import shutil
import subprocess
from pathlib import Path

from devcluster import cgroups, network, node, teardown

WATCHED = (*teardown.HOST_PATHS, Path("/opt/containerd"), Path("/usr/libexec/kubernetes"), Path("/var/log/pods"))
NAMES = ("containerd", "kubelet", "kube-proxy", "coredns", "cni", "runc", "pause")


def output(*command: str) -> str:
    """Standard output of a program that must succeed."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def processes() -> set[str]:
    """Command lines that name the node's folder or one of its programs, zombies aside (init reaps those)."""
    folder = str(node.instance().folder)
    lines = [line.split(maxsplit=2) for line in output("ps", "-eo", "stat,pid,args").splitlines()[1:]]
    living = [f"{pid} {args}" for stat, pid, args in lines if not stat.startswith("Z")]
    return {
        line for line in living if folder in line or any(Path(line.split()[1]).name.startswith(name) for name in NAMES)
    }


def network_namespaces() -> set[str]:
    """Inodes in use, and names under the usual folder."""
    found = {entry.name for entry in Path("/run/netns").glob("*")}
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(str(link.readlink()))
        except OSError:
            continue
    return found


BESIDE = "/wardrobe-idle-"
"""In the control group of what runs beside these tests (tools/idly.py)."""


def iptables_chains() -> list[str]:
    """Every chain and rule, without counters."""
    if shutil.which("iptables-save") is None:
        return []
    return [line.split(" [")[0] for line in output("iptables-save").splitlines() if not line.startswith("#")]


def snapshot() -> dict[str, object]:
    """Everything that must be the same after `down` as before `up`."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    groups = [str(folder) for tree in cgroups.trees() for folder in tree.iterdir() if folder.is_dir()]
    groups = [group for group in groups if BESIDE not in group]
    return {
        "processes": processes(),
        "mounts": sorted(mounts),
        "network namespaces": network_namespaces(),
        "links": sorted(link["ifname"] for link in json.loads(output("ip", "-json", "link"))),
        "routes": output("ip", "route"),
        "iptables": iptables_chains(),
        "nft tables": sorted(output("nft", "list", "tables").splitlines()),
        "control groups": sorted(groups),
        "kernel settings": network.read_settings(),
        "paths": [str(path) for path in WATCHED if path.exists()],
        "files": sorted(str(file) for folder in teardown.HOST_PATHS for file in folder.rglob("*")),
        "folder": node.instance().folder.exists(),
    }


def difference(before: dict[str, object], after: dict[str, object]) -> dict[str, tuple[object, object]]:
    """What differs between two snapshots, as (before, after)."""
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}
