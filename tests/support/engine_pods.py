"""Engine pods' part in tests that have only a control plane: Ready, with an agent that has proved all it is routed."""

import contextlib
import http.server
import secrets
import threading
from collections.abc import Iterator

from kubernetes import client

from wardrobe.api import children
from wardrobe_contracts.routes import OPS_PORT, ROUTES_KEY, Routes
from wardrobe_contracts.state import AdapterState, AgentState, EngineState, Reason, Verdict

from .cluster import Namespace
from .waiting import eventually

SINCE = "2026-01-01T00:00:00Z"


def _state(routes: Routes) -> AgentState:
    adapters = {
        loaded.engine_name: AdapterState(
            digest=loaded.digest, verdict=Verdict.APPLIED, reason=Reason.PROVED, served=True, since=SINCE
        )
        for loaded in routes.adapters
    }
    return AgentState(
        deployment=routes.deployment,
        generation=routes.generation,
        incarnation="only",
        ready=True,
        draining=False,
        engine=EngineState(up=True, since=SINCE),
        adapters=adapters,
    )


def _handler(namespace: Namespace, deployment: str) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            routes = Routes.model_validate_json(namespace.config_map(f"{deployment}-routes")[ROUTES_KEY])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(_state(routes).model_dump_json(by_alias=True).encode())

        def log_message(self, *_: object) -> None: ...

    return Handler


@contextlib.contextmanager
def proving(namespace: Namespace, deployment: str) -> Iterator[None]:
    """Make the deployment's engine pods, as the controllers have created them, Ready while the block runs."""
    address = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(254) + 1}.1"  # others test at the same time
    server = http.server.ThreadingHTTPServer((address, OPS_PORT), _handler(namespace, deployment))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        selector = f"{children.OWNER_LABEL}={deployment},{children.PART_LABEL}=engine"
        core = client.CoreV1Api(namespace.api)

        def pods() -> list[str]:
            found = core.list_namespaced_pod(namespace.name, label_selector=selector).items
            return [pod.metadata.name for pod in found if pod.metadata and pod.metadata.name]

        for pod in eventually(pods, what="engine pods"):
            ready = {"type": "Ready", "status": "True"}
            status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]}
            core.patch_namespaced_pod_status(pod, namespace.name, {"status": status})
        yield
    finally:
        server.shutdown()
        server.server_close()
