"""The node's processes, for drills that kill: a pod's by its control group, daemons by devcluster's record."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from devcluster import cgroups, controlplane, environments, images, node, processes, teardown
from devcluster.configs import NODE_IP
from devcluster.images import Entry

from .cluster import Manifest
from .waiting import eventually

FAULTY_ENGINE = Path(__file__).parent / "faulty_engine.py"


def process_in(pod: Manifest, program: str) -> int:
    """Host pid of a program in a pod, once it runs. The first is the container's own, its children come later."""

    def found() -> int | None:
        pids = [pid for pid in _pids() if _is_in(pid, pod["metadata"]["uid"]) and program in _command(pid)]
        return min(pids, default=None)

    return eventually(found, within=30, what=f"{program} in {pod['metadata']['name']}") or 0


def kill_in(pod: Manifest, program: str) -> None:
    """SIGKILL, as the out-of-memory killer does it."""
    os.kill(process_in(pod, program), signal.SIGKILL)


def post_in(pod: Manifest, program: str, port: int, path: str, body: object) -> None:
    """A request to a loopback port of a pod, from within its network."""
    pid = process_in(pod, program)
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "curl", "--silent", "--show-error", "--fail", "--max-time", "20"]
    subprocess.run([*command, f"http://127.0.0.1:{port}{path}", "--data", json.dumps(body)], check=True)


@contextlib.contextmanager
def without_apiserver() -> Iterator[None]:
    """The node's apiserver is killed for as long as the block takes, then started as before."""
    of = node.instance()
    (record,) = [one for one in processes.recorded(of.pids) if one.name == "apiserver"]
    argv = Path(f"/proc/{record.pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
    group = cgroups.create(teardown.group(of))
    processes.stop([record], grace=0)
    try:
        yield
    finally:
        again = processes.spawn("apiserver", argv, log=of.logs / "apiserver.log", records=of.pids, cgroup=group)
        controlplane.wait_ready(of, node.PORT, again, host=NODE_IP)


def import_faulty_engine() -> str:
    """Put an image into the node that is the engine's but for faults that can be switched on; its reference."""
    engine = environments.MEMBERS["engine"]
    reference = engine.image.replace(":dev", "-faulty:dev")
    source = [Entry("faulty"), Entry("faulty/faulty_engine.py", FAULTY_ENGINE.read_bytes(), 0o644)]
    config = {
        **images.config(engine),
        "Entrypoint": [f"{engine.environment}/bin/python", "/faulty/faulty_engine.py"],
    }
    archive = images.archive(reference, [*images.entries(), *source], config)
    ctr = ["ctr", "--address", str(node.instance().folder / "containerd.sock"), "--namespace", "k8s.io"]
    subprocess.run([*ctr, "images", "import", "-"], input=archive, check=True, capture_output=True)
    return reference


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _is_in(pid: int, uid: str) -> bool:
    with contextlib.suppress(OSError):
        return uid in Path(f"/proc/{pid}/cgroup").read_text().replace("_", "-")
    return False


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return shlex.join(Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0"))
    return ""
