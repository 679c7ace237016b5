"""MLflow's real server on SQLite, what it has of a run, and a way to it that fails as tests want."""

import contextlib
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from .ports import free_port
from .real_engines import python, server

SECONDS = 60.0
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a dozen processes for what no test asks
}


@dataclass(frozen=True)
class Mlflow:
    """A server's state, which outlives its process."""

    folder: Path
    port: int
    nice: int = 0
    """How far it gives way to others, of 19."""

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While the block runs."""
        command = [
            "nice",
            f"-{self.nice}",
            str(python("mlflow")),
            "-m",
            "mlflow",
            "server",
            "--workers",
            "1",
            "--host",
            "127.0.0.1",
        ]
        where = ["--port", str(self.port), "--artifacts-destination", str(self.folder / "artifacts")]
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        with server([*command, *where, *store], self.port, self.folder / "log", QUIET):
            yield

    def ask(self, path: str, **body: Any) -> Any:
        """Of its REST interface; a GET where there is no body."""
        url = f"{self.uri}/api/2.0/mlflow/{path}"
        answer = requests.post(url, json=body, timeout=SECONDS) if body else requests.get(url, timeout=SECONDS)
        answer.raise_for_status()
        return answer.json()

    def experiment(self, name: str) -> str:
        """Its id."""
        return str(self.ask(f"experiments/get-by-name?experiment_name={name}")["experiment"]["experiment_id"])

    def runs(self, experiment: str, view: str = "ACTIVE_ONLY") -> list[Any]:
        """All runs of an experiment."""
        found = self.ask("runs/search", experiment_ids=[self.experiment(experiment)], run_view_type=view)
        return list(found.get("runs", []))

    def run(self, experiment: str) -> Any:
        """Its only one."""
        (run,) = self.runs(experiment)
        return run

    def curve(self, run_id: str, metric: str = "loss") -> list[tuple[int, float]]:
        """Step and value of all points, by step."""
        found = self.ask(f"metrics/get-history?run_id={run_id}&metric_key={metric}").get("metrics", [])
        return sorted((int(point["step"]), point["value"]) for point in found)


@contextlib.contextmanager
def serving(folder: Path, nice: int = 0) -> Iterator[Mlflow]:
    """A server with an empty store."""
    made = Mlflow(folder, free_port(), nice)
    with made.running():
        yield made


def named(values: list[Any]) -> dict[str, Any]:
    """Parameters, metrics or tags of a run, by their names."""
    return {found["key"]: found["value"] for found in values}


@dataclass
class Front:
    """A way to the server: it asks for a password, loses an answer, or answers never."""

    to: str
    port: int = 0
    password: tuple[str, str] | None = None
    lose: str | None = None
    """The end of a path: the next request to it is passed on, and its answer is not."""
    hangs: bool = False
    asked: list[str] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def front(to: str) -> Iterator[Front]:
    """Such a way, as long as the block runs."""
    made = Front(to)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            made.asked.append(self.path)
            if made.hangs:
                made.let_go.wait(SECONDS)
                self.close_connection = True
                return
            if made.password and self.headers.get("Authorization") != _basic(*made.password):
                self._answer(401, b"You are not authenticated.")
                return
            headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            answer = requests.request(self.command, made.to + self.path, data=body, headers=headers, timeout=SECONDS)
            if made.lose and self.path.endswith(made.lose):
                made.lose = None
                self.close_connection = True
                return
            self._answer(answer.status_code, answer.content)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Its requests are in `asked`."""

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

    with Listener(("127.0.0.1", 0), Handler) as listener:
        made.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, name="front")
        thread.start()
        try:
            yield made
        finally:
            made.let_go.set()
            listener.shutdown()
            thread.join()


def _basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"
