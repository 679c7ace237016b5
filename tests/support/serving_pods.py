"""Engine pods and routers beside a control plane without a node: pods become Ready, and `/state` is answered for them.

Every namespace has two loopback addresses of its own: all its engine pods have the one, all its routers the other.
"""

import contextlib
import http.server
import random
import threading
from collections.abc import Iterator

import urllib3
from kubernetes import client

from wardrobe.api import children
from wardrobe.resources.routes import read_routes
from wardrobe_contracts.routes import AGENT_PORT, Routes

from .cluster import Manifest, Namespace
from .serving import Fleet, part_of, ready_status

POLL_SECONDS = 0.05


class ServingPods(threading.Thread):
    """Runs until `stop`. `fleet` says what the pods say; `held` keeps a part's new pods as the API made them."""

    def __init__(self, namespace: Namespace, deployment: str) -> None:
        super().__init__(name="serving pods", daemon=True)
        self.fleet = Fleet(self._routes)
        self.held: set[str] = set()
        network = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}"  # noqa: S311  not a secret
        self.addresses = {"engine": f"{network}.1", "router": f"{network}.2"}
        self._namespace = namespace
        self._deployment = deployment
        self._core = client.CoreV1Api(namespace.api)
        self._ended = threading.Event()
        self._servers = [_serve(address, self._answer(part)) for part, address in self.addresses.items()]

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
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _start(self, pod: Manifest) -> None:
        fresh = pod["status"].get("phase", "Pending") == "Pending" and not pod["metadata"].get("deletionTimestamp")
        if children.PART_LABEL in pod["metadata"]["labels"] and fresh and part_of(pod) not in self.held:
            status = ready_status(self.addresses[part_of(pod)])
            self._core.patch_namespaced_pod_status(pod["metadata"]["name"], self._namespace.name, {"status": status})

    def _answer(self, part: str) -> "type[http.server.BaseHTTPRequestHandler]":
        fleet = self.fleet

        class State(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                state = fleet.agent() if part == "engine" else fleet.router()
                body = state.model_dump_json(by_alias=True).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
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
    server = http.server.ThreadingHTTPServer((address, AGENT_PORT), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


@contextlib.contextmanager
def running(namespace: Namespace, deployment: str = "tantanila") -> Iterator[ServingPods]:
    """The namespace's pods run while the block does."""
    pods = ServingPods(namespace, deployment)
    pods.start()
    try:
        yield pods
    finally:
        pods.stop()
