"""The life of an engine: load the base, serve until SIGTERM."""

import asyncio
import logging
import os
import signal
import sys

from aiohttp import web

from .engine import Engine
from .loading import BadBaseError, Base, load
from .lora import BASE_SLOT
from .model import Model
from .options import Options
from .server import application

CLOSE_SECONDS = 2.0
"""How long a client may take to read what is left for it."""

log = logging.getLogger("wardrobe_engine")


def run(options: Options) -> None:
    """Serve; ends the process where the base cannot be served."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # with INT8 it says of every single product that it casts float32
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        base = load(options.model, options.quantization)
        model = Model(base)
        # the first pass is slow, and a base that cannot do it should not be listened for
        model.prefill([0], BASE_SLOT, every_position=False)
    except (BadBaseError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"{options.model} cannot be served: {error}")
    asyncio.run(serve(base, model, options))


async def serve(base: Base, model: Model, options: Options) -> None:
    """Listen until SIGTERM or SIGINT, then let the accepted requests finish."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    engine = Engine(base, options, model)
    # a client that goes away cancels its handler, and that its request
    runner = web.AppRunner(
        application(engine), handler_cancellation=True, access_log=None, shutdown_timeout=CLOSE_SECONDS
    )
    await runner.setup()
    await web.TCPSite(runner, options.host, options.port).start()
    log.info("serving %s on %s:%d", options.base_name, options.host, options.port)
    await stop.wait()
    log.info("stopping")
    await engine.drain()
    await runner.cleanup()
    if not engine.stop():
        # torch aborts a process that ends while another thread is inside of it
        log.warning("the model's thread hangs")
        os._exit(0)
