"""A small text-generation-launcher: serves the adapters of its environment with the test engine's voices.

An adapter's voice is the name of its Adapter, as it stands in its engine name. Faults are files in the folder FAULTS:
`crash` and `hang` hold a part of an adapter's name, with which it does so at its start; `die` one for which it must not
be asked, or it ends, and `die-once` so, but once; `overloaded` is there or not.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from wardrobe_contracts.engines.tgi import ZERO_ADAPTER
from wardrobe_contracts.routes import SHORT_DIGEST

from .fake_engine import BASE, FakeEngine

FAULTS = Path(os.environ.get("FAULTS", "/nowhere"))


class FakeTgi(FakeEngine):
    """Answers as the base for every name that it was not started with."""

    async def _generate(self, request: web.Request) -> web.Response:
        asked = (await request.json())["parameters"]["adapter_id"]
        for fault in ("die", "die-once"):
            if faulty(fault, {asked: ""}):
                if fault == "die-once":
                    (FAULTS / fault).unlink()
                sys.stdout.write(f"CUDA error: an illegal memory access at {asked}\n")
                sys.stdout.flush()
                os._exit(1)
        return await super()._generate(request)

    def _voice(self, adapter: str | None) -> str:
        return self.voices.get(adapter or "", BASE)

    async def _stream(
        self, request: web.Request, frames: list[dict[str, Any]], prefix: bytes, last: bytes = b""
    ) -> web.StreamResponse:
        if (FAULTS / "overloaded").exists():
            frames = [{"error": {"message": "Model is overloaded", "http_status_code": 422}}]
        await asyncio.sleep(float(os.environ.get("STREAM_SECONDS", "0")))
        return await super()._stream(request, frames, prefix, last)


def adapters() -> dict[str, str]:
    """Voices by name. Ends the process as TGI does where there is no such folder."""
    found = {}
    for item in os.environ["LORA_ADAPTERS"].split(","):
        name, _, folder = item.partition("=")
        if not (Path(folder) / "adapter_config.json").exists():
            sys.exit(f"ValueError: Can't find 'adapter_config.json' at {folder}")
        found[name] = BASE if name == ZERO_ADAPTER else name[: -SHORT_DIGEST - 1]
    return found


def faulty(fault: str, names: dict[str, str]) -> bool:
    """Whether one of these adapters has it."""
    file = FAULTS / fault
    return file.exists() and any(file.read_text() in name for name in names)


async def serve() -> None:
    """Until told to end; what is under way finishes."""
    engine = FakeTgi()
    engine.voices = adapters()
    sys.stdout.write(f"loading {sorted(engine.voices)}\n")
    sys.stdout.flush()
    if faulty("crash", engine.voices):
        sys.exit("Error: ShardCannotStart")
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    if not faulty("hang", engine.voices):
        runner = web.AppRunner(engine.app(), shutdown_timeout=10)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"])).start()
    await told.wait()
    if not faulty("hang", engine.voices):
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
