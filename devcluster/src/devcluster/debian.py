"""Packages of the distribution, by the file each brings; by default those that the node needs."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from devcluster.console import DevclusterError, say

PACKAGES: Mapping[str, Path] = {
    "containerd": Path("/usr/bin/containerd"),
    "runc": Path("/usr/sbin/runc"),
    "containernetworking-plugins": Path("/usr/lib/cni/bridge"),
    "nftables": Path("/usr/sbin/nft"),
    "iproute2": Path("/sbin/ip"),
    "busybox-static": Path("/bin/busybox"),
    "openssl": Path("/usr/bin/openssl"),
    "procps": Path("/usr/bin/ps"),
    "curl": Path("/usr/bin/curl"),
    "python3.11": Path("/usr/bin/python3.11"),
}


def missing(packages: Mapping[str, Path] = PACKAGES) -> list[str]:
    """Packages whose file is not there."""
    return [package for package, file in packages.items() if not file.exists()]


def ensure(wanted: Mapping[str, Path] = PACKAGES) -> None:
    """Install what is missing with apt-get, as root. Raises DevclusterError with the command otherwise."""
    packages = missing(wanted)
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise DevclusterError(f"missing packages; install them: {' '.join(command)}")
    say(f"installing {', '.join(packages)}…")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "--quiet"], env=environment, check=False, stdout=subprocess.DEVNULL)
    done = subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL)
    if done.returncode != 0 or missing(wanted):
        raise DevclusterError(f"`{' '.join(command)}` did not bring {', '.join(missing(wanted))}")
