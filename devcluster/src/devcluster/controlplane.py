"""Control planes for tests: etcd and an apiserver, on request the controller-manager and the scheduler.

Any number at once, no root, no node. A control plane lives no longer than the program that started it:
see watchdog.py. What a crash of both left behind goes away at the next start.

    with controlplane.start() as plane:
        subprocess.run([plane.kubectl, "--kubeconfig", plane.kubeconfig, "get", "namespaces"])
"""

import http.client
import os
import secrets
import ssl
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from devcluster import build, commands, kubeconfig, kubectl, pki, ports, processes
from devcluster.console import DevclusterError
from devcluster.instance import NODE, Instance, all_instances, locked, named
from devcluster.processes import Record
from devcluster.waiting import require, until

LOOPBACK = "127.0.0.1"
START_SECONDS = 60  # on two busy cores; about 4 when idle


class ControlPlane:
    """A running control plane. `kubeconfig` has the rights of cluster administrators."""

    def __init__(self, instance: Instance, port: int, *, service_accounts: bool, options: tuple[str, ...]) -> None:
        self.instance = instance
        self.port = port
        self.kubeconfig: Path = instance.kubeconfig
        self.kubectl: Path = build.program("kubectl")
        self._service_accounts = service_accounts
        self._options = options
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the apiserver listens."""
        return f"https://{LOOPBACK}:{self.port}"

    def __enter__(self) -> "ControlPlane":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start_apiserver(self) -> None:
        """Start the apiserver (again), on the same port and data; returns when it is ready."""
        instance = self.instance
        server = commands.ApiServer(
            binary=build.program("kube-apiserver"),
            pki=instance.pki,
            etcd_socket=instance.folder / "etcd.sock",
            port=self.port,
            # Nobody makes service accounts without the controller-manager, and Pods would be refused.
            without_admission=() if self._service_accounts else ("ServiceAccount",),
            more=self._options,
        )
        record = self._spawn("apiserver", commands.apiserver(server))
        wait_ready(instance, self.port, record)

    def run(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        """Output of kubectl against this control plane; see kubectl.run."""
        return kubectl.run(self.kubeconfig, *arguments, check=check, stdin=stdin)

    def stop(self) -> None:
        """End every daemon and remove the folder. Harmless when repeated."""
        discard(self.instance)
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            self._watchdog.wait(timeout=10)
            self._watchdog = None

    def _spawn(self, name: str, argv: list[str]) -> Record:
        instance = self.instance
        return processes.spawn(name, argv, log=instance.logs / f"{name}.log", records=instance.pids)

    def _keep(self) -> None:
        command = [sys.executable, "-m", "devcluster.watchdog", self.instance.name]
        environment = {**os.environ, "WARDROBE_RUN": str(self.instance.root)}
        self._watchdog = subprocess.Popen(
            command, stdin=subprocess.PIPE, start_new_session=True, env=environment, cwd="/"
        )

    def _start_daemons(self, *, controller_manager: bool, scheduler: bool) -> None:
        folder = self.instance.folder
        socket = folder / "etcd.sock"
        self._spawn("etcd", commands.etcd(build.program("server"), data=folder / "etcd", socket=socket))
        require(socket.exists, seconds=START_SECONDS, what="etcd")
        self.start_apiserver()
        if controller_manager:
            binary = build.program("kube-controller-manager")
            own = kubeconfig.for_user(self.instance.pki, "controller-manager", self.url)
            argv = commands.controller_manager(binary, pki=self.instance.pki, kubeconfig=own)
            self._spawn("controller-manager", argv)
            self._await_service_account()
        if scheduler:
            own = kubeconfig.for_user(self.instance.pki, "scheduler", self.url)
            self._spawn("scheduler", commands.scheduler(build.program("kube-scheduler"), kubeconfig=own))

    def _await_service_account(self) -> None:
        def there() -> bool:
            return kubectl.exists(self.kubeconfig, "serviceaccount", "default")

        require(there, seconds=START_SECONDS, what="the default ServiceAccount", every=0.2)


def start(
    name: str | None = None,
    *,
    controller_manager: bool = False,
    scheduler: bool = False,
    detached: bool = False,
    apiserver_options: tuple[str, ...] = (),
) -> ControlPlane:
    """Start a control plane and return when it answers; use it as a context manager or call `stop`.

    A detached one outlives this program and is ended by name: `devcluster controlplane down NAME`.
    `apiserver_options` are added to the apiserver's command line, such as `--audit-log-path=…`.
    Raises DevclusterError when the name is in use or a daemon does not come up.
    """
    build.ensure(build.KUBERNETES)  # minutes, the first time: not under the lock
    with locked("instances"):
        discard_abandoned()
        instance = _reserve(name or f"cp-{secrets.token_hex(4)}", detached=detached)
    port: int = instance.read_state()["ports"][0]
    plane = ControlPlane(instance, port, service_accounts=controller_manager, options=apiserver_options)
    try:
        if not detached:
            plane._keep()
        pki.create(instance.pki, [pki.apiserver([LOOPBACK, commands.FIRST_SERVICE]), *pki.CONTROL_PLANE])
        kubeconfig.write(instance.kubeconfig, pki=instance.pki, user="admin", server=plane.url)
        plane._start_daemons(controller_manager=controller_manager, scheduler=scheduler)
    except BaseException:
        plane.stop()
        raise
    return plane


def stop(name: str) -> bool:
    """End the control plane of that name; False when there is none."""
    instance = named(name)
    if name == NODE:
        raise DevclusterError("`node` is the node: use `devcluster down`")
    there = instance.exists()
    discard(instance)
    return there


def discard(instance: Instance) -> None:
    """End what is recorded and remove the folder."""
    processes.stop(processes.recorded(instance.pids), grace=0)
    instance.remove()


def discard_abandoned() -> list[str]:
    """Remove control planes whose owner has died. Call under the lock of instances."""
    abandoned = [instance for instance in all_instances() if instance.name != NODE and _abandoned(instance)]
    for instance in abandoned:
        discard(instance)
    return [instance.name for instance in abandoned]


def _abandoned(instance: Instance) -> bool:
    owner = instance.read_state().get("owner")
    return owner is not None and not processes.alive(Record(**owner))


def _reserve(name: str, *, detached: bool) -> Instance:
    instance = named(name)
    if name == NODE or instance.exists():
        raise DevclusterError(f"a control plane {name!r} is there already; end it: devcluster controlplane down {name}")
    instance.create()
    state: dict[str, Any] = {"ports": [ports.pick(ports.taken_by_instances())], "owner": None}
    if not detached:
        state["owner"] = asdict(Record("owner", os.getpid(), processes.start_time(os.getpid()) or 0))
    instance.write_state(state)
    return instance


def wait_ready(instance: Instance, port: int, record: Record, *, host: str = LOOPBACK) -> None:
    """Return when the apiserver's /readyz is well; raises with the end of its log when it died or took too long."""
    context = ssl.create_default_context(cafile=str(instance.pki / "ca.crt"))
    context.load_cert_chain(instance.pki / "admin.crt", instance.pki / "admin.key")
    ready = until(lambda: not processes.alive(record) or _is_ready(host, port, context), seconds=START_SECONDS)
    if not ready or not processes.alive(record):
        processes.reap(record.pid)
        log = instance.logs / "apiserver.log"
        raise DevclusterError(f"the apiserver did not come up; the end of {log}:\n{processes.last_lines(log)}")


def _is_ready(host: str, port: int, context: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection(host, port, timeout=2, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
