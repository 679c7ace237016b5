"""Agents and routers as processes of their own, on a real apiserver."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardrobe_contracts.routes import ROUTES_KEY, Routes
from wardrobe_contracts.state import AgentState, RouterState

from .gateway import DEPLOYMENT, text
from .ports import free_port
from .waiting import eventually

if TYPE_CHECKING:
    from devcluster.controlplane import ControlPlane

ROUTES = "tantanila-routes"
SERVICE = "tantanila-engine"


def own_address() -> str:
    """This machine's, as EndpointSlices take no loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: it only finds the interface
        address: str = probe.getsockname()[0]
    return address


@dataclass
class Program:
    """A running agent or router."""

    arguments: list[str]
    environment: dict[str, str]
    port: int
    ops_port: int
    log: Path
    is_told: bool = False
    """Whether its routes come by its stdin; otherwise from the cluster."""
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Run it (again), on the same ports."""
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments, "--port", str(self.port), "--ops-port", str(self.ops_port)],
                env=self.environment,
                stdin=subprocess.PIPE if self.is_told else None,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def tell(self, routes: Routes) -> None:
        """New routes, by its stdin."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(text(routes).encode() + b"\n")
        self.process.stdin.flush()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ops_url(self) -> str:
        return f"http://127.0.0.1:{self.ops_port}"

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of its operations; status 0 where nothing answers."""
        try:
            with urllib.request.urlopen(self.ops_url + path, timeout=5) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def refuses_requests(self) -> bool:
        """Whether nobody listens where requests are taken."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) != 0

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def await_ready(self) -> None:
        eventually(self.ready, every=0.02, what=self.logged)

    def agent_state(self) -> AgentState:
        return AgentState.model_validate_json(self.get("/state")[1])

    def router_state(self) -> RouterState:
        return RouterState.model_validate_json(self.get("/state")[1])

    def kill(self) -> None:
        """As a node's failure would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdin is not None:
                self.process.stdin.close()

    def terminate(self) -> None:
        """As the kubelet would; does not wait."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def logged(self) -> str:
        return self.log.read_text()


@dataclass
class Cluster:
    """A namespace with the routes of one deployment."""

    plane: "ControlPlane"
    namespace: str
    folder: Path
    kubeconfig: Path

    def apply(self, manifest: dict[str, Any]) -> None:
        """Create or change an object."""
        self.plane.run("apply", f"--namespace={self.namespace}", "--filename=-", stdin=json.dumps(manifest))

    def route(self, routes: Routes) -> None:
        """Write the routes."""
        metadata = {"name": ROUTES}
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {ROUTES_KEY: text(routes)}})

    def endpoint(self, name: str, agent: Program) -> None:
        """List an engine pod under the Service."""
        self.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": SERVICE}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": agent.port}, {"name": "ops", "port": agent.ops_port}],
                "endpoints": [{"addresses": [own_address()], "conditions": {"ready": False}}],
            }
        )

    def agent(self, name: str, store: Path, engine_url: str, *more: str) -> Program:
        """An engine pod's agent."""
        cache = self.folder / f"{name}-cache"
        options = ["--store", str(store), "--cache", str(cache), "--engine-url", engine_url, "--quantization", "None"]
        return self._program(name, "wardrobe_gateway.agent", *options, *more)

    def router(self, name: str, *more: str) -> Program:
        """A router; its keys are in `<folder>/keys`."""
        memory = self.folder / f"{name}-memory"
        memory.mkdir(exist_ok=True)
        options = ["--service", SERVICE, "--keys", str(self.folder / "keys"), "--memory", str(memory)]
        return self._program(name, "wardrobe_gateway.router", *options, "--keys-seconds", "0.2", *more)

    def key(self, department: str, *keys: str) -> None:
        """Write a department's keys."""
        folder = self.folder / "keys" / department
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "keys").write_text("\n".join(keys))

    def _program(self, name: str, module: str, *options: str) -> Program:
        identity = ["--deployment", DEPLOYMENT, "--namespace", self.namespace, "--routes", ROUTES]
        return Program(
            arguments=[module, *identity, "--linger-seconds", "3", *options],
            environment={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            port=free_port(),
            ops_port=free_port(),
            log=self.folder / f"{name}.log",
        )


@contextlib.contextmanager
def running(*programs: Program) -> Iterator[None]:
    """Programs while the block runs."""
    try:
        for program in programs:
            program.start()
        yield
    finally:
        for program in programs:
            program.kill()
