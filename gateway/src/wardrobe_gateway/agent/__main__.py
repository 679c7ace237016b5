"""`wardrobe-agent`: the only listener of an engine pod."""

import argparse
import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wardrobe_contracts import paths
from wardrobe_contracts.base import Variant
from wardrobe_contracts.routes import AGENT_PORT, ENGINE_PORT

from ..command import add, common_options, kubernetes_options
from ..engines.dialects import DIALECTS
from ..forwarding import session
from ..kube import connect
from ..kube_source import KubernetesSource
from ..lifecycle import Drain, Timing, serve
from ..source import Source, follow
from .keeper import Keeper, Settings
from .server import Agent


def main() -> None:
    """Parse the command line and run until SIGTERM."""
    arguments = parser().parse_args()
    logging.basicConfig(level=arguments.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_main(arguments))


async def _main(arguments: argparse.Namespace) -> None:
    async with connect() as kube:
        source = KubernetesSource(kube, arguments.namespace, arguments.routes, service="")
        await run(arguments, source)


async def run(arguments: argparse.Namespace, source: Source) -> None:
    """Run on any source of routes until SIGTERM."""
    drain = Drain()
    timing = Timing(arguments.linger_seconds, arguments.drain_seconds)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    async with _agent(arguments, drain) as agent:
        agent.restore()
        background = [
            follow(source.routes, agent.take_routes, lambda _: None),
            agent.keeper.watch_engine(),
            agent.keeper.work(),
        ]
        await serve(agent.app(), arguments.port, drain, timing, background)


@asynccontextmanager
async def _agent(arguments: argparse.Namespace, drain: Drain) -> AsyncIterator[Agent]:
    settings = Settings(
        arguments.deployment, arguments.store, arguments.cache, arguments.quantization, arguments.reprove_seconds
    )
    async with session(arguments.answer_seconds) as connection:
        engine = DIALECTS[arguments.engine](connection, arguments.engine_url)
        yield Agent(Keeper(engine, settings), connection, arguments.engine_url, drain)


def parser() -> argparse.ArgumentParser:
    """All options."""
    options = argparse.ArgumentParser(prog="wardrobe-agent", description=__doc__)
    kubernetes_options(options)
    add(options, "--store", type=Path, default=Path(paths.STORE), help="the store, read-only")
    add(options, "--cache", type=Path, default=Path(paths.CACHE), help="own folder, where the engine reads too")
    add(options, "--engine", default="Transformers", choices=sorted(DIALECTS), help="the engine's dialect")
    quantization = "variant of the base that the engine serves"
    add(options, "--quantization", type=Variant, choices=list(Variant), help=quantization)
    add(options, "--engine-url", default=f"http://127.0.0.1:{ENGINE_PORT}", help="where the engine listens")
    add(options, "--reprove-seconds", type=float, default=300.0, help="how often what is served is proved again")
    common_options(options, port=AGENT_PORT)
    return options


if __name__ == "__main__":
    main()
