"""The node: a control plane plus containerd, kubelet, kube-proxy and CoreDNS. One at a time on a machine."""

import getpass
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from devcluster import (
    build,
    cgroups,
    commands,
    configs,
    debian,
    environments,
    images,
    kubeconfig,
    kubectl,
    network,
    pki,
    processes,
    teardown,
)
from devcluster.console import DevclusterError, say
from devcluster.controlplane import wait_ready
from devcluster.instance import NODE, Instance, checkout, locked, named
from devcluster.processes import Record
from devcluster.reservation import refuse_anothers, refuse_reserved
from devcluster.waiting import require

PORT = 6443
URL = f"https://{configs.NODE_IP}:{PORT}"
GPU = "nvidia.com/gpu"
DEFAULT_GPUS = 8
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # fixed: what a daemon finds is no accident
HOST_PATHS = (*map(Path, ("/usr", "/etc/ssl", "/etc/alternatives", "/etc/ld.so.cache")), environments.ROOT)
DAEMONS = (
    "etcd",
    "apiserver",
    "controller-manager",
    "scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "coredns",
)
START_SECONDS = 60


def instance() -> Instance:
    """The node's."""
    return named(NODE)


def running(node: Instance) -> dict[str, Record | None]:
    """Each daemon's process; None for one that does not run."""
    alive = {record.name: record for record in processes.recorded(node.pids) if processes.alive(record)}
    return {name: alive.get(name) for name in DAEMONS}


def is_up(node: Instance) -> bool:
    """Whether every daemon runs."""
    return all(running(node).values())


def up(*, gpus: int | None = None) -> bool:
    """Start the node, with 8 GPUs unless told; True when it was not up already. No number leaves them as they are.

    Raises DevclusterError, with status 3 when it is up for another checkout.
    """
    if os.geteuid() != 0:
        raise DevclusterError("the node needs root (mounts, links, control groups); control planes do not")
    debian.ensure()
    for module in build.MODULES:
        build.ensure(module)
    with locked(NODE):
        refuse_reserved()
        node = instance()
        if any(running(node).values()):
            refuse_anothers(node.read_state())
        if is_up(node):
            environments.sync()
            if gpus is not None:
                set_gpus(node, gpus)
            return False
        if teardown.leftovers(node):
            say("a node that did not end well is still here in part; cleaning up first…")
            teardown.down(node)
        environments.sync()
        _start(node, DEFAULT_GPUS if gpus is None else gpus)
        return True


def down(*, force: bool = False) -> bool:
    """Stop the node and remove all it made; True when there was something."""
    if os.geteuid() != 0:
        raise DevclusterError("only root can take the node down")
    with locked(NODE):
        node = instance()
        if not force:
            refuse_reserved()
        if any(running(node).values()) and not force:
            refuse_anothers(node.read_state())
        return teardown.down(node)


def _start(node: Instance, gpus: int) -> None:
    began = time.monotonic()
    try:
        daemons = _prepare(node)
        _start_daemons(node, daemons)
        _wait_for_node(node)
        set_gpus(node, gpus)
        require(
            lambda: kubectl.exists(node.kubeconfig, "serviceaccount", "default"),
            seconds=START_SECONDS,
            what="the default ServiceAccount",
        )
    except BaseException:
        say(f"up failed; the logs are kept until the next up or down: {node.logs}")
        raise
    say(f"node Ready after {time.monotonic() - began:.1f} s; export KUBECONFIG={node.kubeconfig}")


def _prepare(node: Instance) -> Path:
    """State, links, control groups and files; returns the control group of daemons."""
    node.create()
    node.write_state(
        {
            "checkout": str(checkout()),
            "user": os.environ.get("SUDO_USER") or getpass.getuser(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "settings": network.read_settings(),
            "made": [str(path) for path in teardown.HOST_PATHS if not path.exists()],
        }
    )
    network.create()
    certificates = [
        pki.apiserver(["127.0.0.1", configs.NODE_IP, commands.FIRST_SERVICE]),
        pki.Certificate("kubelet", f"/CN={configs.NODE_NAME}", f"DNS:{configs.NODE_NAME},IP:{configs.NODE_IP}"),
        pki.client("node", f"/O=system:nodes/CN=system:node:{configs.NODE_NAME}"),
        pki.client("kube-proxy", "/CN=system:kube-proxy"),
    ]
    pki.create(node.pki, [*certificates, *pki.CONTROL_PLANE])
    kubeconfig.write(node.kubeconfig, pki=node.pki, user="admin", server=URL)
    _write_configs(node)
    return cgroups.create(teardown.group(node))


def _write_configs(node: Instance) -> None:
    folder = node.folder
    (folder / "cni").mkdir()
    default = network.run("ctr", "oci", "spec")
    shown = [path for path in HOST_PATHS if path.exists()]
    own = kubeconfig.for_user(node.pki, "kube-proxy", URL)
    files = {
        "containerd.toml": configs.containerd(node),
        "spec.json": configs.runtime_spec(default, shown),
        "cni/10.conflist": configs.network(node),
        "kubelet.yaml": configs.kubelet(node, cgroup=teardown.group(node)),
        "proxy.yaml": configs.proxy(own, bridge_is_filtered=network.bridge_is_filtered()),
        "Corefile": configs.corefile(node.kubeconfig),
    }
    for name, text in files.items():
        (folder / name).write_text(text)


def _spawn(node: Instance, name: str, argv: list[str], group: Path) -> Record:
    log = node.logs / f"{name}.log"
    return processes.spawn(name, argv, log=log, records=node.pids, cgroup=group, path=PATH)


def _start_daemons(node: Instance, group: Path) -> None:
    folder = node.folder
    etcd = folder / "etcd.sock"
    _spawn(node, "etcd", commands.etcd(build.program("server"), data=folder / "etcd", socket=etcd), group)
    _spawn(node, "containerd", ["/usr/bin/containerd", "--config", str(folder / "containerd.toml")], group)
    require(etcd.exists, seconds=START_SECONDS, what="etcd")
    server = commands.ApiServer(
        binary=build.program("kube-apiserver"),
        pki=node.pki,
        etcd_socket=etcd,
        port=PORT,
        bind=configs.NODE_IP,
        advertise=configs.NODE_IP,
    )
    record = _spawn(node, "apiserver", commands.apiserver(server), group)
    import_members(node)
    wait_ready(node, PORT, record, host=configs.NODE_IP)
    for name, argv in _clients(node).items():
        _spawn(node, name, argv, group)


def _clients(node: Instance) -> dict[str, list[str]]:
    """Daemons that need the apiserver, kubelet first: it has most to do."""
    folder = node.folder
    own = {name: kubeconfig.for_user(node.pki, name, URL) for name in ("controller-manager", "scheduler", "node")}
    manager = build.program("kube-controller-manager")
    return {
        "kubelet": [
            str(build.program("kubelet")),
            f"--config={folder / 'kubelet.yaml'}",
            f"--kubeconfig={own['node']}",
            f"--hostname-override={configs.NODE_NAME}",
            f"--node-ip={configs.NODE_IP}",
            f"--root-dir={folder / 'kubelet'}",
        ],
        "controller-manager": commands.controller_manager(manager, pki=node.pki, kubeconfig=own["controller-manager"]),
        "scheduler": commands.scheduler(build.program("kube-scheduler"), kubeconfig=own["scheduler"]),
        "kube-proxy": [str(build.program("kube-proxy")), f"--config={folder / 'proxy.yaml'}"],
        "coredns": [str(build.program("coredns")), "-conf", str(folder / "Corefile")],
    }


def import_members(node: Instance) -> None:
    """Put the pause image and the members' into containerd."""
    import_images(node, [images.pause(), *map(images.member, environments.MEMBERS.values())])


def import_images(node: Instance, archives: Iterable[bytes]) -> None:
    """Put images into containerd, once it answers."""
    socket = str(node.folder / "containerd.sock")
    ctr = ["ctr", "--address", socket, "--namespace", "k8s.io"]

    def answers() -> bool:
        return subprocess.run([*ctr, "version"], capture_output=True, check=False).returncode == 0

    require(answers, seconds=START_SECONDS, what="containerd")
    for archive in archives:
        done = subprocess.run([*ctr, "images", "import", "-"], input=archive, capture_output=True, check=False)
        if done.returncode != 0:
            raise DevclusterError(f"ctr images import: {done.stderr.decode().strip()}")


def is_ready(node: Instance) -> bool:
    """Whether kubelet says that pods can run."""
    path = '-ojsonpath={.status.conditions[?(@.type=="Ready")].status}'
    arguments = ("get", "node", configs.NODE_NAME, path, "--request-timeout=5s")
    return kubectl.run(node.kubeconfig, *arguments, check=False) == "True"


def _wait_for_node(node: Instance) -> None:
    def ready() -> bool:
        dead = [name for name, record in running(node).items() if record is None]
        if dead:
            ends = "\n".join(processes.last_lines(node.logs / f"{name}.log") for name in dead)
            raise DevclusterError(f"ended at the start: {', '.join(dead)}\n{ends}")
        return is_ready(node)

    require(ready, seconds=START_SECONDS, what="the node to be Ready", every=0.1)


def set_gpus(node: Instance, count: int) -> None:
    """Let the scheduler count GPUs; no device is behind them. Kubelet keeps resources it does not know."""
    counts = f'{{"{GPU}":"{count}"}}'
    patch = f'{{"status":{{"capacity":{counts},"allocatable":{counts}}}}}'
    kubectl.run(
        node.kubeconfig, "patch", "node", configs.NODE_NAME, "--subresource=status", "--type=merge", f"-p={patch}"
    )
