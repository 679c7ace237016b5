"""`wardrobe-router`: where departments ask."""

import asyncio
import logging
from functools import partial
from pathlib import Path

from pydantic import Field, PositiveFloat
from pydantic_settings import SettingsConfigDict

from wardrobe_contracts import paths
from wardrobe_contracts.routes import ROUTER_PORT

from ..forwarding import session
from ..process.command import ServerOptions, start
from ..process.drain import Drain
from ..process.program import serve
from ..process.source import Source, follow
from . import keys
from .server import Router

log = logging.getLogger(__name__)


class Options(ServerOptions):
    """Where departments ask. --keys-seconds is also WARDROBE_KEYS_SECONDS, and so on, but ports."""

    model_config = SettingsConfigDict(cli_prog_name="wardrobe-router")

    service: str = Field(description="name of the Service of the engine pods")
    keys: Path = Field(Path(paths.KEYS), description="folder of <department>/keys")
    keys_seconds: PositiveFloat = Field(3.0, description="seconds until keys are read again")
    memory: Path = Field(Path(paths.MEMORY), description="own folder for the last routes")
    port: int = Field(ROUTER_PORT, ge=0, le=65535, description="port of requests")


def main() -> None:
    """Parse the command line and run until SIGTERM."""
    start(Options, run)


async def run(options: Options, source: Source) -> None:
    """Run on any source of routes and addresses until SIGTERM."""
    async with session(options.answer_seconds) as connection:
        router = Router(connection, options.deployment, drain=Drain(), memory=options.memory)
        router.take_keys(await asyncio.to_thread(keys.read, options.keys))
        router.restore()
        addresses = partial(source.addresses, options.service)
        background = [
            follow(addresses, router.take_addresses, lambda _: None, router.in_force.doubt),
            watch_keys(router, options.keys, options.keys_seconds),
            router.backends.run(),
        ]
        await serve(router, options, source, background)


async def watch_keys(router: Router, folder: Path, seconds: float) -> None:
    """Read the key files again and again: the kubelet changes them in place."""
    while True:
        try:
            router.take_keys(await asyncio.to_thread(keys.read, folder))
        except OSError as error:  # the kubelet swaps them meanwhile
            log.warning("keys cannot be read: %s", error)
        await asyncio.sleep(seconds)


if __name__ == "__main__":
    main()
