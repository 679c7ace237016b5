"""TGI as a process: the stand-in's launcher, or the real one where WARDROBE_TGI names its folder.

That folder has `bin/text-generation-launcher` and, where it needs more than that, a file `environment` of NAME=VALUE
lines (a PATH there is put before this one's).
"""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from wardrobe_contracts.probes import Probes
from wardrobe_gateway.wrapper.wrapper import link_base

from .ports import free_port
from .waiting import eventually

REPOSITORY = Path(__file__).parents[2]
TANTANILA = REPOSITORY / "examples" / "tantanila" / "model"
REAL = os.environ.get("WARDROBE_TGI")
STAND_IN = REPOSITORY / "tests" / "tgi_stand_in"
WARDROBE = {"ENABLE_PREFILL_LOGPROBS": "true", "CUDA_GRAPHS": "0", "PREFIX_CACHING": "0", "DTYPE": "bfloat16"}
"""As Wardrobe starts it."""
ANSWER_SECONDS = 120


@dataclass(frozen=True)
class Tgi:
    """A launcher that was started."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path

    def post(self, path: str, body: Any, **more: Any) -> requests.Response:
        """One request."""
        return requests.post(self.url + path, json=body, timeout=ANSWER_SECONDS, **more)

    def generate(self, inputs: str, **parameters: Any) -> requests.Response:
        """`/generate`."""
        return self.post("/generate", {"inputs": inputs, "parameters": parameters})

    def events(self, path: str, body: Any) -> tuple[int, list[Any]]:
        """A stream's status and events."""
        with self.post(path, body, stream=True) as answer:
            data = [line.removeprefix(b"data:").strip() for line in answer.iter_lines() if line.startswith(b"data:")]
        return answer.status_code, [text.decode() if text == b"[DONE]" else json.loads(text) for text in data]

    def get(self, path: str) -> requests.Response:
        """A request without a body."""
        return requests.get(self.url + path, timeout=ANSWER_SECONDS)

    def listens(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(self.url.rpartition(":")[2]))) == 0

    def children(self) -> list[str]:
        """Number and command line of each."""
        command = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(self.process.pid)]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()

    def shard(self) -> int:
        """The process that holds the model."""
        found = (line for line in self.children() if "shard" in line or "text-generation-server" in line)
        return int(next(found).split()[0])


@dataclass(frozen=True)
class Served:
    """A TGI and the adapters that it was given."""

    tgi: Tgi
    names: Mapping[str, str]
    """Adapter to its name in the engine."""
    probes: Mapping[str, Probes]


@contextmanager
def started(folder: Path, base: Path, **environment: str) -> Iterator[Tgi]:
    """TGI with nothing in its environment but this; it listens, or has ended. It is killed in the end."""
    with begun(folder, base, **environment) as tgi:
        eventually(lambda: tgi.listens() or tgi.process.poll() is not None, what=tgi.log.read_text)
        yield tgi


@contextmanager
def begun(folder: Path, base: Path, **environment: str) -> Iterator[Tgi]:
    """The same, at once."""
    folder.mkdir(parents=True)
    port = free_port()
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["text-generation-launcher"],
            env=environment_in(folder, port) | {"MODEL_ID": str(base)} | environment,
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    tgi = Tgi(process, f"http://127.0.0.1:{port}", log)
    try:
        yield tgi
    finally:
        for group in {process.pid, *_groups_of_children(process.pid)}:
            _kill(group)
        process.wait()


def readable_base(folder: Path, source: Path = TANTANILA) -> Path:
    """The base as the wrapper gives it to TGI."""
    link_base(source, folder)
    return folder


def with_bos(folder: Path, source: Path = TANTANILA) -> Path:
    """A base whose tokenizer puts a token before each text, as Llama's does."""
    shutil.copytree(source, folder)
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    bos = {"SpecialToken": {"id": "<|bos|>", "type_id": 0}}
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [0], "tokens": ["<|bos|>"]}},
    }
    path.write_text(json.dumps(tokenizer))
    template = folder / "chat_template.jinja"
    template.write_text("{{ bos_token }}" + template.read_text())
    return folder


def environment_in(folder: Path, port: int) -> dict[str, str]:
    """What a launcher is given beside its settings, with a folder of its own."""
    found = {
        "PATH": f"{STAND_IN / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "HOSTNAME": "127.0.0.1",
        "PORT": str(port),
        "PROMETHEUS_PORT": str(free_port()),
        "MASTER_PORT": str(free_port()),
        "SHARD_UDS_PATH": str(folder / "shard"),
        "HF_HUB_OFFLINE": "1",
        "USAGE_STATS": "off",
        "NUM_SHARD": "1",
    }
    return found | (real_environment(Path(REAL), found["PATH"].partition(":")[2]) if REAL else {})


def real_environment(folder: Path, path: str) -> dict[str, str]:
    """What the real one in a folder needs; `path` comes after its own PATH."""
    file = folder / "environment"
    lines = file.read_text().splitlines() if file.is_file() else []
    said: Mapping[str, str] = dict(line.split("=", 1) for line in lines if "=" in line)
    own = [said["PATH"]] if "PATH" in said else []
    return {**said, "PATH": ":".join([str(folder / "bin"), *own, path])}


def _groups_of_children(pid: int) -> set[int]:
    """Shards have process groups of their own (launcher/src/main.rs:1157)."""
    found = subprocess.run(["ps", "-o", "pgid=", "--ppid", str(pid)], check=False, capture_output=True)
    return {int(group) for group in found.stdout.split()}


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
