"""The operator as a process of its own, outside the cluster, as `python -m wardrobe` or dying on purpose."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wardrobe_contracts.engines import EngineType

from .cluster import Namespace
from .ports import free_port
from .waiting import HANG, eventually

NO_IMAGES = "none/{}"
NODE_IMAGES = "localhost/wardrobe-{}:dev"
"""What the development node has."""


@dataclass
class Operator:
    """A running operator."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path

    def healthy(self) -> bool:
        """Whether liveness is served and good."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=HANG) as answer:  # noqa: S310
            return bool(answer.status == 200)
        return False

    @property
    def url(self) -> str:
        """Of metrics and liveness."""
        return f"http://127.0.0.1:{self.port}"

    def metrics(self) -> str:
        """The metrics page."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=HANG) as answer:  # noqa: S310
            text: str = answer.read().decode()
        return text

    def api_requests(self) -> int:
        """API requests that this operator made until now, watches left out."""
        lines = [line for line in self.metrics().splitlines() if line.startswith("wardrobe_api_requests_total{")]
        return round(sum(float(line.rsplit(" ", 1)[1]) for line in lines))

    def resident_bytes(self) -> int:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        return int(kib) * 1024

    def kill(self) -> None:
        """SIGKILL, as a node's failure would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, as a rollout would; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=HANG)


def start(
    kubeconfig: Path, namespace: str, folder: Path, *, module: str = "wardrobe", images: str = NO_IMAGES, more: str = ""
) -> Operator:
    """Start an operator for one namespace; `module` may be a wrapper of it. Its log goes to the folder."""
    port = free_port()
    log = folder / f"operator-{port}.log"
    arguments = ["--namespaces", namespace, "--port", str(port), *more.split()]
    variables = {f"WARDROBE_{member.upper()}_IMAGE": images.format(member) for member in ("trainer", "gateway")}
    variables["WARDROBE_ENGINE_IMAGE"] = json.dumps({engine: images.format("engine") for engine in EngineType})
    path = {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(Path(__file__).parents[1])}
    environment = {**os.environ, **variables, **path}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    return Operator(process, port, log)


@contextlib.contextmanager
def running(
    kubeconfig: Path, namespace: str, folder: Path, *, module: str = "wardrobe", images: str = NO_IMAGES, more: str = ""
) -> Iterator[Operator]:
    """An operator while the block runs; returns once it serves liveness."""
    operator = start(kubeconfig, namespace, folder, module=module, images=images, more=more)
    try:
        eventually(operator.healthy, what=f"operator, see {operator.log}")
        yield operator
    finally:
        operator.stop()


@dataclass
class Operators:
    """Operators with the node's images, one for each namespace; a drill may replace one that it killed."""

    kubeconfig: Path
    folder: Callable[[], Path]
    running: dict[str, Operator] = field(default_factory=dict)

    def begin(self, namespace: Namespace, more: str = "") -> None:
        """Start one."""
        name = namespace.name
        self.running[name] = start(self.kubeconfig, name, self.folder(), images=NODE_IMAGES, more=more)

    def of(self, namespace: Namespace) -> Operator:
        """The namespace's."""
        return self.running[namespace.name]

    def stop(self) -> None:
        """End them all."""
        for operator in self.running.values():
            operator.stop()
