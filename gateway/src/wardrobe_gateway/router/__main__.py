"""`wardrobe-router`: where departments ask."""

import argparse
import asyncio
import logging
from pathlib import Path

from wardrobe_contracts import paths
from wardrobe_contracts.routes import ROUTER_PORT

from ..command import add, common_options, kubernetes_options
from ..forwarding import session
from ..kube import connect
from ..kube_source import KubernetesSource
from ..lifecycle import Drain, Timing, serve
from ..source import Source, follow
from . import keys
from .server import Router

log = logging.getLogger(__name__)


def main() -> None:
    """Parse the command line and run until SIGTERM."""
    arguments = parser().parse_args()
    logging.basicConfig(level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_main(arguments))


async def _main(arguments: argparse.Namespace) -> None:
    async with connect() as kube:
        await run(arguments, KubernetesSource(kube, arguments.namespace, arguments.routes, arguments.service))


async def run(arguments: argparse.Namespace, source: Source) -> None:
    """Run on any source of routes and addresses until SIGTERM."""
    drain = Drain()
    timing = Timing(arguments.linger_seconds, arguments.drain_seconds)
    async with session(arguments.answer_seconds) as connection:
        router = Router(
            connection,
            arguments.deployment,
            drain=drain,
            memory=arguments.memory / "last.json" if arguments.memory else None,
            max_body=arguments.max_body_bytes,
        )
        router.take_keys(await asyncio.to_thread(keys.read, arguments.keys))
        router.restore()
        background = [
            follow(source.routes, router.take_routes, router.take_connected),
            follow(source.addresses, router.take_addresses, lambda _: None),
            watch_keys(router, arguments.keys, arguments.keys_seconds),
            router.backends.run(),
        ]
        await serve(router.app(), arguments.port, drain, timing, background)


async def watch_keys(router: Router, folder: Path, seconds: float) -> None:
    """Read the key files again and again: the kubelet changes them in place."""
    while True:
        try:
            router.take_keys(await asyncio.to_thread(keys.read, folder))
        except OSError as error:  # the kubelet swaps them meanwhile
            log.warning("keys cannot be read: %s", error)
        await asyncio.sleep(seconds)


def parser() -> argparse.ArgumentParser:
    """All options."""
    options = argparse.ArgumentParser(prog="wardrobe-router", description=__doc__)
    kubernetes_options(options)
    add(options, "--service", help="name of the Service of the engine pods")
    add(options, "--keys", type=Path, default=Path(paths.KEYS), help="folder of <department>/keys")
    add(options, "--keys-seconds", type=float, default=3.0, help="how often keys are read again")
    add(options, "--memory", type=Path, default=Path(paths.MEMORY), help="own folder for the last routes")
    add(options, "--max-body-bytes", type=int, default=2_000_000, help="largest request")
    common_options(options, port=ROUTER_PORT)
    return options


if __name__ == "__main__":
    main()
