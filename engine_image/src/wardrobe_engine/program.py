"""The life of an engine: load the base, serve until SIGTERM."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from wardrobe_contracts.base import Fingerprint
from wardrobe_contracts.base_files import base_files
from wardrobe_contracts.digests import fingerprint_like
from wardrobe_models.errors import BadBaseError

from .deadlines import DEADLINES, Deadlines
from .engine import Engine
from .loading import Base, load
from .lora import BASE_SLOT
from .model import Model
from .options import Options
from .server import application, runner

CLOSE_SECONDS = 2.0
"""How long a client may take to read what is left for it."""

BROKEN = 70
"""Exit code where the model's thread has died or hangs (sysexits.h: internal software error)."""

log = logging.getLogger("wardrobe_engine")


def run(
    options: Options,
    *,
    make_model: Callable[[Base], Model] = Model,
    make_application: Callable[[Engine], web.Application] = application,
    deadlines: Deadlines = DEADLINES,
) -> None:
    """Serve; ends the process where the base cannot be served. All but the options are for tests."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # with INT8 it says of every single product that it casts float32
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        if options.fingerprint is not None:
            require_inspected(options.model, options.fingerprint)
        base = load(options.model, options.quantization, options.chat_prelude)
        model = make_model(base)
        # the first pass is slow, and a base that cannot do it should not be listened for
        model.prefill([0], BASE_SLOT, every_position=False)
    except (BadBaseError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"{options.model} cannot be served: {error}")
    asyncio.run(serve(lambda: Engine(base, options, model, deadlines), make_application))


def require_inspected(model: Path, expected: Fingerprint) -> None:
    """Compare the files with what was inspected, in under a second. Raises BadBaseError or OSError."""
    found = fingerprint_like(expected, model, base_files(model))
    if found != expected:
        raise BadBaseError(
            "its files are not those that its BaseModel was inspected with. Put the inspected files back, or make a "
            f"new BaseModel for the new ones. Their fingerprint is {found}, not {expected}"
        )


async def serve(make_engine: Callable[[], Engine], make_application: Callable[[Engine], web.Application]) -> None:
    """Listen until SIGTERM or SIGINT, then let the accepted requests finish; or end the process where that is vain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    engine = make_engine()
    options = engine.options
    server = runner(make_application(engine), CLOSE_SECONDS)
    await server.setup()
    await web.TCPSite(server, options.host, options.port).start()
    log.info("serving %s on %s:%d", options.base_name, options.host, options.port)
    broken = asyncio.create_task(engine.broken())
    await asyncio.wait({broken, asyncio.create_task(_finish(stop, engine))}, return_when=asyncio.FIRST_COMPLETED)
    await server.cleanup()
    if broken.done():
        log.critical("ends, to be started anew: %s", broken.result())
        os._exit(BROKEN)
    broken.cancel()
    if not engine.stop():
        # torch aborts a process that ends while another thread is inside of it
        log.warning("the model's thread hangs")
        os._exit(0)


async def _finish(stop: asyncio.Event, engine: Engine) -> None:
    await stop.wait()
    log.info("stopping")
    await engine.drain()
