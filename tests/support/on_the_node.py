"""The node's processes, for drills that kill: a pod's by its control group, daemons by devcluster's record."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from devcluster import cgroups, controlplane, environments, images, node, processes, teardown
from devcluster.configs import NODE_IP
from devcluster.images import Entry
from devcluster.instance import locked
from wardrobe.api.meta import Manifest
from wardrobe.engines.wrapped import WRAPPER
from wardrobe_gateway.wrapper import wrapper

from . import tgi
from .waiting import eventually

FAULTY_ENGINE = Path(__file__).parent / "faulty_engine.py"
STAND_IN = Path(__file__).parents[1] / "tgi_stand_in"
TGI_IMAGE = f"localhost/{'tgi' if tgi.REAL else 'tgi-stand-in'}:dev"
DEADLY = "this prompt kills the engine"
"""The words that end the faulty engine."""


def process_in(pod: Manifest, program: str) -> int:
    """Host pid of a program in a pod, once it runs. The first is the container's own or, of an engine, what the wrapper
    has started; its children come later."""

    def found() -> int | None:
        pids = [pid for pid in _pids() if _is_in(pid, pod["metadata"]["uid"]) and program in _command(pid)]
        return min((pid for pid in pids if WRAPPER not in _command(pid)), default=None)

    return eventually(found, what=f"{program} in {pod['metadata']['name']}") or 0


def kill_in(pod: Manifest, program: str) -> None:
    """SIGKILL, as the out-of-memory killer does it; returns when nothing of the process is left.

    Its threads take some tenths of a second to end (its first is a zombie meanwhile), and as long as one of them holds
    the listening socket, the kernel goes on accepting connections for it.
    """
    pid = process_in(pod, program)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), what=f"the death of {program}", every=0.01)


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process is stopped while the block runs: the kernel takes connections for it, and nobody answers them."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def freeze_engine(pod: Manifest) -> None:
    """SIGSTOP of an engine and of all that has come of it, but its wrapper: as where a device hangs, for ever."""

    def found() -> int | None:
        pids = (pid for pid in _pids() if _is_in(pid, pod["metadata"]["uid"]) and WRAPPER in _command(pid))
        return next(pids, None)

    for pid in wrapper.descendants(eventually(found, what=f"the wrapper in {pod['metadata']['name']}")):
        os.kill(pid, signal.SIGSTOP)


def daemon(name: str) -> int:
    """Pid of one of the node's own."""
    return next(record.pid for record in processes.recorded(node.instance().pids) if record.name == name)


def post_in(pod: Manifest, program: str, port: int, path: str, body: object) -> None:
    """A request to a loopback port of a pod, from within its network."""
    pid = process_in(pod, program)
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "curl", "--silent", "--show-error", "--fail", "--max-time", "20"]
    subprocess.run([*command, f"http://127.0.0.1:{port}{path}", "--data", json.dumps(body)], check=True)


@contextlib.contextmanager
def without_apiserver() -> Iterator[None]:
    """The node's apiserver is killed for as long as the block takes, then started as before.

    So are the controllers: elsewhere they end when they lose their lease, and begin anew. Ours hold none and would live
    on, but after a minute's outage they look again only every 30 to 60 s (client-go), and nothing is bound until then.
    kubelet and kube-proxy live on here as they do elsewhere, and may be as late.
    """
    of = node.instance()
    records = {record.name: record for record in processes.recorded(of.pids)}
    killed = [records[name] for name in ("apiserver", "controller-manager", "scheduler")]
    argv = {one.name: Path(f"/proc/{one.pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0") for one in killed}
    group = cgroups.create(teardown.group(of))
    processes.stop(killed, grace=0)

    def start(name: str) -> processes.Record:
        return processes.spawn(name, argv[name], log=of.logs / f"{name}.log", records=of.pids, cgroup=group)

    try:
        yield
    finally:
        controlplane.wait_ready(of, node.PORT, start("apiserver"), host=NODE_IP)
        start("controller-manager")
        start("scheduler")


def import_faulty_engine() -> str:
    """Put an image into the node that is the engine's but for faults that can be switched on; its reference."""
    engine = environments.MEMBERS["engine"]
    place = Path("faulty/bin/wardrobe-engine")  # the pod names its command, and finds this one first
    script = f'#!/bin/sh\nexec {engine.environment}/bin/python /faulty/faulty_engine.py "$@"\n'
    source = [
        *(Entry(str(folder)) for folder in (place.parent.parent, place.parent)),
        Entry("faulty/faulty_engine.py", FAULTY_ENGINE.read_bytes(), 0o644),
        Entry(str(place), script.encode(), 0o755),
    ]
    config = images.config(engine)
    config["Env"] = [*config["Env"][1:], f"PATH=/{place.parent}:{engine.environment}/bin:/usr/bin:/bin"]
    return _import(engine.image.replace(":dev", "-faulty:dev"), source, config)


def import_tgi(crashes_with: str = "") -> str:
    """The real TGI where WARDROBE_TGI names its folder, else the stand-in; with that adapter it ends at its start."""
    return _import_real_tgi(Path(tgi.REAL), crashes_with) if tgi.REAL else import_tgi_stand_in(CRASH=crashes_with)


def import_tgi_stand_in(reference: str = TGI_IMAGE, **switches: str) -> str:
    """An image whose `text-generation-launcher` is the stand-in, with some of its switches (tgi_stand_in.facts) on."""
    engine = environments.MEMBERS["engine"]
    place = Path("tests") / STAND_IN.name
    folders = [place.parent, place, place / "bin"]
    files = [file for file in [*STAND_IN.glob("*.py"), *(STAND_IN / "bin").iterdir()] if file.is_file()]
    source = [
        *(Entry(str(folder)) for folder in folders),
        *(Entry(str(place / file.relative_to(STAND_IN)), file.read_bytes(), 0o755) for file in files),
    ]
    config = images.config(engine)
    variables = [f"PATH=/{place}/bin:{engine.environment}/bin:/usr/bin:/bin", "OMP_NUM_THREADS=1"]
    variables += [f"STAND_IN_{name}={value}" for name, value in switches.items()]
    variables += [f"STAND_IN_PYTHON={engine.environment}/bin/python"]
    config["Env"] = [*config["Env"][1:], *variables]
    return _import(reference, source, config)


def _import_real_tgi(folder: Path, crashes_with: str) -> str:
    """Pods have of this machine what the node shows them, and read it there: nothing of TGI is in the image.

    No adapter that the agent lets through is known to end the real one at its start: a script before it does.
    """
    if environments.ROOT not in folder.resolve().parents:
        raise AssertionError(f"WARDROBE_TGI is {folder}: pods see what lies below {environments.ROOT}; move it there")
    launcher = folder.resolve() / "bin" / "text-generation-launcher"
    variables = tgi.real_environment(folder.resolve(), "/usr/bin:/bin")
    source = []
    if crashes_with:
        place = Path("crashes")
        source = [Entry(str(place)), Entry(str(place / launcher.name), _crashing(launcher, crashes_with), 0o755)]
        variables["PATH"] = f"/{place}:{variables['PATH']}"
    config = {
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "User": str(images.USER),
        "WorkingDir": "/",
    }
    return _import(TGI_IMAGE, source, config)


def _crashing(launcher: Path, adapter: str) -> bytes:
    """A launcher that ends as the stand-in does where an adapter is in the list, and else is the real one."""
    ends = f'echo "RuntimeError: {adapter} cannot be read" >&2; exit 1'
    return f'#!/bin/sh\ncase $LORA_ADAPTERS in *{adapter}*) {ends};; esac\nexec {launcher} "$@"\n'.encode()


def import_vllm() -> str:
    """An image with the vLLM of envs/vllm, which runs on CPUs."""
    environment = environments.ROOT / "vllm"
    _sync(STAND_IN.parents[1] / "envs" / "vllm", environment)
    config = {
        "Env": [f"PATH={environment}/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"],
        "User": str(images.USER),
        "WorkingDir": "/",
    }
    return _import("localhost/vllm:dev", [], config)


def _sync(project: Path, environment: Path) -> None:
    """The environment of a project apart, with a lock of its own: a few GB, and minutes the first time."""
    mark, lock = environment / environments.STAMP, (project / "uv.lock").read_text()
    with locked("environments"):
        if mark.is_file() and mark.read_text() == lock:
            return
        former = os.umask(0o022)  # pods of any user read it
        try:
            environments.uv_sync(project, environment, [])
            environments.compile_all(environment)
            mark.write_text(lock)
        finally:
            os.umask(former)


def _import(reference: str, more: list[Entry], config: dict[str, Any]) -> str:
    archive = images.archive(reference, [*images.entries(), *more], config)
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
