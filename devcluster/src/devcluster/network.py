"""The node's links, nft tables and kernel settings: made by `up`, taken away by `down`."""

import json
import subprocess
from pathlib import Path

from devcluster import configs
from devcluster.console import DevclusterError

SYSCTL = Path("/proc/sys")
FORWARD = "net/ipv4/ip_forward"
BRIDGE_FILTER = "net/bridge/bridge-nf-call-iptables"
# We set the first two; kubelet and kube-proxy the others.
SETTINGS = (
    FORWARD,
    BRIDGE_FILTER,
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
)
TABLES = (("ip", "wardrobe"), ("ip", "kube-proxy"), ("ip6", "kube-proxy"))


def run(*command: str, stdin: str | None = None, check: bool = True) -> str:
    """Output of a program. Raises DevclusterError with its complaint, unless check is off."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise DevclusterError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def read_settings() -> dict[str, str]:
    """Kernel settings as they are now, those that exist."""
    return {name: (SYSCTL / name).read_text().strip() for name in SETTINGS if (SYSCTL / name).exists()}


def restore_settings(former: dict[str, str]) -> None:
    """Write back what differs."""
    now = read_settings()
    for name, value in former.items():
        if name in now and now[name] != value:
            (SYSCTL / name).write_text(value)


def bridge_is_filtered() -> bool:
    """Whether packets between pods pass nftables too, so that a service's answer finds its way back."""
    file = SYSCTL / BRIDGE_FILTER
    return file.exists() and file.read_text().strip() == "1"


def create() -> None:
    """The bridge with the node's address, forwarding, and the table that hides pods from the outside."""
    run("ip", "link", "add", configs.BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{configs.NODE_IP}/24", "dev", configs.BRIDGE)
    run("ip", "link", "set", configs.BRIDGE, "up")
    (SYSCTL / FORWARD).write_text("1")
    if (SYSCTL / BRIDGE_FILTER).exists():
        (SYSCTL / BRIDGE_FILTER).write_text("1")
    run("nft", "-f", "-", stdin=configs.masquerade())


def remove() -> None:
    """Links of pods, the bridge and the tables. What is not there is no error."""
    listing = run("ip", "-json", "link", "show", "master", configs.BRIDGE, check=False)
    for link in json.loads(listing or "[]"):
        if name := link.get("ifname"):
            run("ip", "link", "delete", name, check=False)
    run("ip", "link", "delete", configs.BRIDGE, check=False)
    for family, table in TABLES:
        run("nft", "delete", "table", family, table, check=False)
