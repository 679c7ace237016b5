"""A small real model, adapters made by PEFT, and engines that serve them."""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import httpx
import pytest
import torch
from aiohttp import web
from peft import LoraConfig, get_peft_model

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_engine.deadlines import DEADLINES, Deadlines
from wardrobe_engine.engine import Engine
from wardrobe_engine.loading import Base, load
from wardrobe_engine.model import Model
from wardrobe_engine.options import Options
from wardrobe_engine.server import application, runner
from wardrobe_models.loading import load_base

MODEL = Path(__file__).parents[2] / "examples/tantanila/model"
PROMPT = "<|user|>\nWhat is atrial fibrillation?<|end|>\n<|assistant|>\n"
SHAPES: dict[str, dict[str, Any]] = {
    "cardiology-v1.2": {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"},
    "renal-v1": {"r": 4, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]},
    "emergency-v3": {"r": 16, "lora_alpha": 8, "target_modules": ["down_proj", "o_proj"], "use_rslora": True},
}
"""Adapters that differ in rank, scale and modules."""


def pytest_configure(config: pytest.Config) -> None:
    """PEFT 0.21 asks transformers 5.23 for an attribute by its old name."""
    config.addinivalue_line("filterwarnings", "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns about every product of INT8
torch.set_num_threads(1)  # the machine's few cores are shared with other tests


def write_adapter(folder: Path, seed: int, **settings: Any) -> Path:
    """An adapter as PEFT writes it, with random B strong enough to change answers."""
    torch.manual_seed(seed)
    model = get_peft_model(
        load_base(MODEL, Variant.NONE, Accelerator.CPU), LoraConfig(task_type="CAUSAL_LM", **settings)
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name to folder."""
    folder = tmp_path_factory.mktemp("adapters")
    return {name: write_adapter(folder / name, seed, **shape) for seed, (name, shape) in enumerate(SHAPES.items())}


@dataclass
class Served:
    """A running engine."""

    url: str
    engine: Engine
    loop: asyncio.AbstractEventLoop

    def post(self, path: str, body: object, status: int = 200) -> httpx.Response:
        response = httpx.post(f"{self.url}{path}", json=body, timeout=60)
        assert response.status_code == status, response.text
        return response

    def load(self, name: str, folder: Path, status: int = 200) -> httpx.Response:
        return self.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)}, status)

    def unload(self, name: str, status: int = 200) -> httpx.Response:
        return self.post("/v1/unload_lora_adapter", {"lora_name": name}, status)

    def generate(self, adapter: str | None = None, status: int = 200, **parameters: Any) -> dict[str, object]:
        settings = {"adapter_id": adapter, "max_new_tokens": 8, **parameters}
        answer = self.post("/generate", {"inputs": PROMPT, "parameters": settings}, status)
        body: dict[str, object] = answer.json()
        return body

    def text(self, adapter: str | None = None, **parameters: Any) -> str:
        return str(self.generate(adapter, **parameters)["generated_text"])

    def metric(self, series: str) -> float:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(series + " ")), 0.0)


@contextlib.contextmanager
def serving(base: Base, options: Options, model: Model, deadlines: Deadlines = DEADLINES) -> Iterator[Served]:
    """An engine in a thread of this process, on a port of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[web.AppRunner, Engine, int]:
        engine = Engine(base, options, model, deadlines)
        server = runner(application(engine), shutdown_seconds=2)
        await server.setup()
        await web.TCPSite(server, "127.0.0.1", 0).start()
        return server, engine, server.addresses[0][1]

    server, engine, port = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield Served(f"http://127.0.0.1:{port}", engine, loop)
    finally:
        asyncio.run_coroutine_threadsafe(server.cleanup(), loop).result(20)
        engine.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start an engine of one test's own, with another model class or other options."""
    with contextlib.ExitStack() as stack:

        def start(model: type[Model] = Model, deadlines: Deadlines = DEADLINES, **settings: Any) -> Served:
            options = Options(model=MODEL, served_name="tantanila", **settings)
            base = load(MODEL, options.quantization)
            return stack.enter_context(serving(base, options, model(base), deadlines))

        yield start


@pytest.fixture(scope="session")
def served(adapters: dict[str, Path]) -> Iterator[Served]:
    """An engine with all adapters, shared by tests that change nothing."""
    base = load(MODEL, Variant.NONE)
    options = Options(model=MODEL, served_name="tantanila")
    with serving(base, options, Model(base)) as running:
        for name, folder in adapters.items():
            running.load(name, folder)
        yield running
