"""Engine pods and routers beside a control plane without a node: pods become Ready, and `/state` is answered for them.

Every namespace has loopback addresses of its own: all its routers have the one, all its engine pods the other, but for
the third, which can be frozen.
"""

import contextlib
import http.server
import random
import threading
from collections.abc import Iterator

import urllib3
from kubernetes import client

from wardrobe.api import children
from wardrobe.api.meta import Manifest
from wardrobe.deployment.children.routes import read_routes
from wardrobe_contracts.routes import OPS_PORT, Routes

from .cluster import Namespace
from .resources import ready_status
from .serving import Fleet, part_of

POLL_SECONDS = 0.05


class ServingPods(threading.Thread):
    """Runs until `stop`. `fleet` says what the pods say; `held` keeps a part's new pods as the API made them."""

    def __init__(self, namespace: Namespace, deployment: str) -> None:
        super().__init__(name="serving pods", daemon=True)
        self.fleet = Fleet(self._routes)
        self.held: set[str] = set()
        network = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"  # noqa: S311  not a secret
        self.addresses = {"engine": f"{network}.1", "router": f"{network}.2", "third": f"{network}.3"}
        self._engines: list[str] = []
        self._namespace = namespace
        self._deployment = deployment
        self._core = client.CoreV1Api(namespace.api)
        self._ended = threading.Event()
        self._servers = {part: _serve(address, self._answer(part)) for part, address in self.addresses.items()}

    def run(self) -> None:
        """Make the namespace's pods Ready."""
        while not self._ended.wait(POLL_SECONDS):
            with contextlib.suppress(client.ApiException, urllib3.exceptions.HTTPError):
                for pod in self._namespace.pods():
                    self._start(pod)

    def stop(self) -> None:
        """End the thread and the servers."""
        self._ended.set()
        self.join()
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def freeze(self) -> None:
        """As SIGSTOP of the third engine pod's agent: the kernel takes connections, and nobody answers."""
        self._servers["third"].shutdown()

    def thaw(self) -> None:
        """As SIGCONT."""
        _run(self._servers["third"])

    def _start(self, pod: Manifest) -> None:
        fresh = pod["status"].get("phase", "Pending") == "Pending" and not pod["metadata"].get("deletionTimestamp")
        if children.PART_LABEL in pod["metadata"]["labels"] and fresh and part_of(pod) not in self.held:
            status = ready_status(self._address(pod))
            self._core.patch_namespaced_pod_status(pod["metadata"]["name"], self._namespace.name, {"status": status})

    def _address(self, pod: Manifest) -> str:
        if part_of(pod) == "engine" and pod["metadata"]["uid"] not in self._engines:
            self._engines.append(pod["metadata"]["uid"])
        third = self._engines[2:3] == [pod["metadata"]["uid"]]
        return self.addresses["third" if third else part_of(pod)]

    def _answer(self, part: str) -> "type[http.server.BaseHTTPRequestHandler]":
        fleet = self.fleet

        class State(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                state = fleet.router() if part == "router" else fleet.agent()
                body = state.model_dump_json(by_alias=True).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # who asked while it was frozen has left
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
                """Nothing."""

        return State

    def _routes(self) -> Routes | None:
        try:
            found = self._core.read_namespaced_config_map(f"{self._deployment}-routes", self._namespace.name)
        except client.ApiException:
            return None
        return read_routes({"data": found.data})


def _serve(address: str, handler: "type[http.server.BaseHTTPRequestHandler]") -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer((address, OPS_PORT), handler)
    _run(server)
    return server


def _run(server: http.server.ThreadingHTTPServer) -> None:
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


@contextlib.contextmanager
def running(namespace: Namespace, deployment: str = "tantanila") -> Iterator[ServingPods]:
    """The namespace's pods run while the block does."""
    pods = ServingPods(namespace, deployment)
    pods.start()
    try:
        yield pods
    finally:
        pods.stop()
