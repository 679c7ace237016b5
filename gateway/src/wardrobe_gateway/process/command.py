"""Command lines: what all programs have in common, and how they start."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from pydantic import Field, NonNegativeFloat, PositiveFloat

from wardrobe_contracts.command import CommandLine
from wardrobe_contracts.routes import OPS_PORT

from .kube import connect
from .kube_source import KubernetesSource
from .source import Source


class ServerOptions(CommandLine):
    """Which deployment a server of ours belongs to, and how it listens, answers and ends."""

    deployment: str = Field(description="name of the AdapterDeployment")
    namespace: str = Field(description="its namespace")
    routes: str = Field(description="name of the ConfigMap with its routes")
    port: int = Field(ge=0, le=65535, description="port of requests")
    ops_port: int = Field(OPS_PORT, ge=0, le=65535, description="port of state, probes and metrics")
    answer_seconds: PositiveFloat = Field(300.0, description="longest silence within an answer, in seconds")
    linger_seconds: NonNegativeFloat = Field(5.0, description="seconds that requests are still taken after SIGTERM")
    drain_seconds: NonNegativeFloat = Field(60.0, description="seconds that those under way may take after that")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")


Chosen = TypeVar("Chosen", bound=ServerOptions)


def start(options: type[Chosen], run: Callable[[Chosen, Source], Awaitable[None]]) -> None:
    """Parse the command line, and run on the routes in the cluster until SIGTERM."""
    parsed = options.parse(sys.argv[1:])
    logging.basicConfig(level=parsed.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each request of a proof
    asyncio.run(_run(parsed, run))


async def _run(options: Chosen, run: Callable[[Chosen, Source], Awaitable[None]]) -> None:
    async with connect() as kube:
        await run(options, KubernetesSource(kube, options.namespace, options.routes))
