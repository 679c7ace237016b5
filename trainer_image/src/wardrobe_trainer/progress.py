"""Where an attempt is: written by rank 0 to a small file, served by the launcher over HTTP."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import ValidationError

from wardrobe_contracts.training import Progress

from .tracking.commission import read_state

FILE = "progress.json"
_GAUGES = {
    "step": "Optimizer steps done",
    "steps": "Optimizer steps planned",
    "epoch": "Passes over the training rows",
    "loss": "Mean loss per label token since the last report",
    "tokens_per_second": "Tokens passed through the model per second, padding left out",
    "seconds_left": "Estimated seconds of training left",
}


def write(folder: Path, progress: Progress) -> None:
    """Replace the file in one step. Not synced to disk: it is of no use after this container."""
    temporary = folder / f".{FILE}"
    temporary.write_text(progress.model_dump_json(by_alias=True))
    temporary.replace(folder / FILE)


def read(folder: Path) -> Progress:
    """The newest report; before the first, an attempt is loading."""
    try:
        return Progress.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return Progress(stage="Loading")


def metrics(progress: Progress) -> CollectorRegistry:
    """A gauge for every figure that is known yet."""
    registry = CollectorRegistry()
    for name, meaning in _GAUGES.items():
        value = getattr(progress, name)
        if value is not None:
            Gauge(f"wardrobe_training_{name}", meaning, registry=registry).set(value)
    return registry


class ProgressServer(ThreadingHTTPServer):
    """Serves `/progress` and `/metrics` of one attempt until closed."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(("", port), _Handler)
        self.folder = folder
        self.tracking: Path | None = None
        """Where the process that tells a server of the run says how that stands."""

    def now(self) -> Progress:
        """The rank's report, with what became of tracking where that is asked for."""
        found = read(self.folder)
        return found.model_copy(update={"tracked": read_state(self.tracking)}) if self.tracking else found

    def start(self) -> None:
        """Answer requests from a thread of its own."""
        Thread(target=self.serve_forever, name="progress", daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: ProgressServer

    def do_GET(self) -> None:
        progress = self.server.now()
        if self.path == "/progress":
            self._answer(200, "application/json", progress.model_dump_json(by_alias=True).encode())
        elif self.path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest(metrics(progress)))
        else:
            body = json.dumps({"error": "only /progress and /metrics are here"}).encode()
            self._answer(404, "application/json", body)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Requests every few seconds are not worth a line each."""
