"""Engine pods whose engine takes adapters when it starts: a real agent and wrapper, and a small launcher."""

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from wardrobe_contracts.base import Variant
from wardrobe_contracts.digests import of_files, sha256
from wardrobe_contracts.engines import EngineType, Precision
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_FILES, ADAPTER_WEIGHTS_FILE
from wardrobe_contracts.probes import PROBES_FILE
from wardrobe_contracts.routes import BaseShape, Permit, RoutedBase, Routes
from wardrobe_contracts.state import EngineSets
from wardrobe_gateway.agent.engine_process import EngineProcess
from wardrobe_gateway.agent.patience import Patience
from wardrobe_gateway.forwarding import session
from wardrobe_gateway.wrapper import wrapper

from . import artifacts, gateway, lora_files, tgi
from .artifacts import BASE, Artifact
from .gateway import PATIENCE, Pod, until
from .ports import free_port

SHAPE = BaseShape(
    model_type="llama",
    layers=2,
    hidden_size=16,
    intermediate_size=32,
    attention_heads=2,
    key_value_heads=1,
    head_dim=8,
)


@dataclass(frozen=True)
class Launcher:
    """What is started as the engine, and the base that it serves."""

    command: Sequence[str]
    variables: Mapping[str, str]
    shape: BaseShape


SMALL = Launcher([sys.executable, "-m", "support.fake_launcher"], {"PYTHONPATH": str(Path(__file__).parents[1])}, SHAPE)


def stand_in(base: Path, **switches: str) -> Launcher:
    """TGI's stand-in, as Wardrobe starts TGI."""
    variables = {**tgi.WARDROBE, "MODEL_ID": str(base), "HOSTNAME": "127.0.0.1", **switches}
    return Launcher([str(tgi.STAND_IN / "bin" / "text-generation-launcher")], variables, lora_files.base_shape(base))


def launcher(folder: Path, base: Path, **switches: str) -> Launcher:
    """The stand-in or the real one, as Wardrobe starts TGI but for the switches; `folder` is its own."""
    folder.mkdir()
    variables = {**tgi.environment_in(folder, 0), **tgi.WARDROBE, "MODEL_ID": str(base), **switches}
    command = shutil.which("text-generation-launcher", path=variables["PATH"])
    assert command is not None
    return Launcher([command], variables, lora_files.base_shape(base))


def publish(
    store: Path, adapter: str, *, rank: int = 8, finite: bool = True, extra: str = "", **config: Any
) -> Artifact:
    """An adapter that fits SHAPE, with probes as the small launcher scores them; or one that holds NaN, a tensor more,
    or something else in its config."""
    tensors = lora_files.matrices(SHAPE, rank, lora_files.ATTENTION[:2], seed=sum(adapter.encode()))
    if not finite:
        tensors[next(iter(tensors))][0, 0] = np.nan
    if extra:
        tensors[extra] = np.zeros((1, 1), np.float32)
    folder = lora_files.write(store.with_name("made") / adapter, tensors, rank, **config)
    files = {name: (folder / name).read_bytes() for name in ADAPTER_FILES}
    digest = of_files({name: sha256(content) for name, content in files.items()})
    made = artifacts.probes(adapter, digest, BASE, (Variant.NONE,))
    files[PROBES_FILE] = made.model_dump_json(by_alias=True).encode()
    assert set(files) == {ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, PROBES_FILE}
    return artifacts.write(store, adapter, files, voice=adapter)


def routes(
    members: Iterable[Artifact],
    live: Artifact,
    *,
    generation: int = 1,
    permit: Permit | None = None,
    refused: Iterable[str] = (),
    shape: BaseShape = SHAPE,
) -> Routes:
    """Routes of one department, with the base's shape."""
    given = gateway.routes([one.routed() for one in members], {"cardiology": live.name}, generation=generation)
    base = RoutedBase(name="base", digest=BASE, shape=shape)
    return given.model_copy(update={"base": base, "permit": permit, "refused": list(refused)})


class TgiPod(Pod):
    """An engine container that is started again whenever it ends, and an agent before it."""

    def __init__(
        self,
        store: Path,
        cache: Path,
        connection: aiohttp.ClientSession,
        launcher: Launcher = SMALL,
        patience: Patience = PATIENCE,
    ) -> None:
        self.engine_port = free_port()
        self._launcher = launcher
        super().__init__(
            store,
            cache,
            connection,
            engine_url=f"http://127.0.0.1:{self.engine_port}",
            engine=EngineType.TGI,
            variant=Variant.NONE,
            precision=Precision.BFLOAT16,
            patience=patience,
        )
        self.faults = cache.with_name(f"{cache.name}-faults")
        self.stream_seconds = 0.0
        self.containers = 0
        """How often the engine's container was started."""
        self.given: Routes | None = None
        self._container: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        for folder in (self.control, self.faults):
            folder.mkdir(exist_ok=True)
        self._kubelet = asyncio.create_task(self._keep_running())
        await self.start_agent()

    async def stop(self) -> None:
        await self.stop_agent()
        self._kubelet.cancel()
        await asyncio.gather(self._kubelet, return_exceptions=True)
        if self._container is not None and self._container.returncode is None:
            self._container.terminate()
            await self._container.wait()

    async def _keep_running(self) -> None:
        environment = {
            **os.environ,
            **self._launcher.variables,
            "PORT": str(self.engine_port),
            "FAULTS": str(self.faults),
            "STREAM_SECONDS": str(self.stream_seconds),
        }
        options = ["--control", str(self.control), "--when-ordered"]
        command = [sys.executable, wrapper.__file__, *options, "--", *self._launcher.command]
        with (self.control / "log").open("ab") as log:
            while True:
                self.containers += 1
                self._container = await asyncio.create_subprocess_exec(
                    *command, env=environment, stdout=log, stderr=log, cwd=self.control.parent
                )
                await self._container.wait()

    @property
    def sets(self) -> EngineSets:
        """What the agent says of its engine's sets."""
        found = self.agent.state().engine_sets
        assert found is not None
        return found

    @property
    def process(self) -> str | None:
        """Which process of the engine runs."""
        state = EngineProcess(self.control).state()
        return state.incarnation if state else None

    def give(self, *members: Artifact, live: Artifact, refused: Iterable[str] = ()) -> None:
        """New routes, without a permit."""
        generation = self.given.generation + 1 if self.given else 1
        shape = self._launcher.shape
        self.given = routes(members, live, generation=generation, refused=refused, shape=shape)
        self.apply(self.given)

    async def asks(self) -> str:
        """Wait until the agent asks for a permit; returns the set."""

        def asked() -> str | None:
            sets = self.sets
            return sets.wanted if sets.wanted != sets.running and not sets.restarting else None

        return await until(asked, what=self.agent.state)

    def permit(self, engine_set: str, incarnation: str = "") -> None:
        """As the operator does."""
        assert self.given is not None
        permit = Permit(incarnation=incarnation or self.reconciler.incarnation, engine_set=engine_set)
        update = {"permit": permit, "generation": self.given.generation + 1}
        self.given = self.given.model_copy(update=update)
        self.apply(self.given)

    async def restarted(self) -> str:
        """Permit what is asked for, and wait until a restart has ended, either way; returns the set."""
        wanted = await self.asks()
        self.permit(wanted)
        await until(lambda: self.sets.restarting or self.sets.running == wanted, what=lambda: self.sets)
        await until(lambda: not self.sets.restarting, what=lambda: (self.sets, (self.control / "log").read_text()))
        return wanted


@contextlib.asynccontextmanager
async def tgi_pod(
    store: Path, cache: Path, launcher: Launcher = SMALL, patience: Patience = PATIENCE
) -> AsyncIterator[TgiPod]:
    """A running pod."""
    async with session(10) as connection:
        running = TgiPod(store, cache, connection, launcher, patience)
        await running.start()
        try:
            yield running
        finally:
            await running.stop()
