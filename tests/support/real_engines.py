"""What tests before a real engine share: recorded artifacts, and programs of other environments."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from wardrobe_contracts.base import Variant
from wardrobe_contracts.manifest import ADAPTER_FILES
from wardrobe_contracts.probes import PROBES_FILE

from .artifacts import BASE, Artifact, write
from .waiting import HANG, eventually

REPOSITORY = Path(__file__).parents[2]
MODEL = REPOSITORY / "examples" / "tantanila" / "model"
NAMES = ("cardiology-v1", "cardiology-v2", "paediatrics-v1")


def python(environment: str) -> Path:
    """The interpreter of `.venv-<environment>`."""
    return REPOSITORY / f".venv-{environment}" / "bin" / "python"


def run(program: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
    """A program's output."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests"), **(variables or {})}
    done = subprocess.run([str(program), *arguments], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def record(folder: Path, *variants: Variant) -> tuple[Path, dict[str, Artifact]]:
    """A store with the adapters that the trainer's code makes, and what is in it; with scores on these variants."""
    run(python("trainer"), "-m", "support.record_artifacts", str(folder / "made"), BASE, *variants)
    files = {name: [(folder / "made" / name / file) for file in (*ADAPTER_FILES, PROBES_FILE)] for name in NAMES}
    store = folder / "store"
    return store, {
        name: write(store, name, {path.name: path.read_bytes() for path in paths}) for name, paths in files.items()
    }


@contextmanager
def server(command: list[str], port: int, log: Path, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program that listens on the port, until the end of the block. Its output is appended to the log."""
    with log.open("ab") as file:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", **variables}
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT, process_group=0)
    try:
        eventually(lambda: _listens(port, process), within=HANG, what=log.read_text)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its children, too, as the end of a container does
        process.wait()


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "it has ended; its log says why"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
