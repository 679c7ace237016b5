"""Engines as processes of this machine, started as the operator has their containers started, in a folder each.

The block ends with all their processes, however it ends.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wardrobe.api.adapterdeployment import AdapterDeploymentResource, AdapterDeploymentSpec
from wardrobe.engines import tgi as tgi_container
from wardrobe.engines import vllm as vllm_container
from wardrobe.settings import Settings
from wardrobe_contracts.base import BaseLocation, Variant
from wardrobe_contracts.engines import EngineType
from wardrobe_gateway.wrapper import wrapper

from . import real_engines, resources, tgi
from .ports import free_port
from .real_engines import MODEL, REPOSITORY, python

SETTINGS = Settings("trainer", "gateway", dict.fromkeys(EngineType, "engine"))
"""Of the operator; images do not matter here."""
SHAPE = resources.base_to_build_on().shape
BASE_NAME = "base"
"""What the embedded engine calls the base."""
STOP_SECONDS = 60.0
"""Until what is left of a TGI is killed."""
PLACES = frozenset({"HF_HOME", "HUGGINGFACE_HUB_CACHE"})
"""Of the container's file system."""


@dataclass(frozen=True)
class Start:
    """How an engine is started."""

    command: list[str]
    variables: dict[str, str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def vllm_start(folder: Path, base: Path) -> Start:
    """With the operator's own command line, without the wrapper."""
    made = vllm_container.container(
        _spec(EngineType.VLLM), _location(base), resources.base_to_build_on().shape, SETTINGS
    )
    port = free_port()
    arguments = list(made["args"])
    arguments[arguments.index("--port") + 1] = str(port)
    engine_of_the_pod = made["command"][made["command"].index("--") + 1 :]
    command = [str(python("vllm")), *engine_of_the_pod[1:], *arguments]
    return Start(command, _variables(made) | {"HOME": str(folder)}, port)


@contextlib.contextmanager
def transformers(folder: Path, variant: Variant = Variant.NONE, program: str = "wardrobe_engine") -> Iterator[str]:
    """The embedded engine on the example's base, or one that fails as it is told; its URL."""
    port = free_port()
    options = ["--model", str(MODEL), "--served-name", BASE_NAME, "--port", str(port), "--quantization", variant.value]
    command = [str(python("engine")), "-m", program, *options]
    with real_engines.server(command, port, folder / "engine.log", {"PYTHONPATH": str(REPOSITORY / "tests")}):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def vllm(folder: Path) -> Iterator[str]:
    """The real vLLM, on the base as published."""
    start = vllm_start(folder, MODEL)
    with real_engines.server(start.command, start.port, folder / "engine.log", start.variables):
        yield start.url


@contextlib.contextmanager
def tgi_when_ordered(folder: Path, control: Path) -> Iterator[str]:
    """The wrapper of a TGI, which starts it once an agent orders so; the URL that it will have."""
    port = free_port()
    base = control / "base"
    options = ["--control", str(control), "--when-ordered", "--base-links", str(MODEL), str(base)]
    with (folder / "engine.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, wrapper.__file__, *options, "--", "text-generation-launcher"],
            env=tgi_variables() | tgi.environment_in(folder, port) | {"MODEL_ID": str(base)},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def tgi_variables() -> dict[str, str]:
    """The container's, but for its places."""
    made = tgi_container.container(
        _spec(EngineType.TGI, gpus=1), _location(MODEL), resources.base_to_build_on().shape, SETTINGS
    )
    return {name: value for name, value in _variables(made).items() if name not in PLACES}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Told first: it ends all that come of its engine. Whatever outlives that is killed."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
        return
    for pid in [*wrapper.descendants(process.pid), process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _spec(engine: EngineType, **more: Any) -> AdapterDeploymentSpec:
    settings = {"quantization": "None", "engine": {"type": engine.value, **more}}
    made = resources.deployment(spec=settings, cardiology="cardiology-v1")
    return AdapterDeploymentResource.parse(resources.stored(made)).spec


def _location(base: Path) -> BaseLocation:
    return BaseLocation(folder=str(base), fingerprint=f"sampled:sha256:{'0' * 64}")


def _variables(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["env"]}
