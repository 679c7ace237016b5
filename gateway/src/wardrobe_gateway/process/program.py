"""What a program must offer to be run, and its life: it ends with any of its tasks, and drains when told to stop."""

import asyncio
import logging
import signal
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from aiohttp import web
from pydantic import BaseModel

from .command import ServerOptions
from .connection import Deadlines
from .drain import Drain
from .listening import OPS_CONNECTIONS, Listener
from .operations import Operations
from .routes import RoutesInForce
from .source import Source, follow

log = logging.getLogger(__name__)


class Program(Protocol):
    """Handlers of requests, and what it says of itself."""

    in_force: RoutesInForce
    drain: Drain

    def app(self) -> web.Application:
        """What may be asked on the port of requests."""
        ...

    def ready(self) -> bool:
        """Whether requests should come here."""
        ...

    def state(self) -> BaseModel:
        """What is said at `/state`."""
        ...

    async def metrics_page(self) -> bytes:
        """The metrics, as things are now."""
        ...


async def serve(
    program: Program, options: ServerOptions, source: Source, background: Sequence[Coroutine[Any, Any, None]]
) -> None:
    """Follow the routes and serve until SIGTERM, and then until drained; or until a task dies, which raises.

    Operations are answered to the last: that requests are drained is seen there.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, program.drain.begin)
    in_force = program.in_force
    following = follow(source.routes, in_force.take, in_force.take_connected, in_force.doubt)
    tasks = [asyncio.create_task(work) for work in (following, *background)]
    requests = Listener(program.app(), options.port, Deadlines())
    ops = Listener(Operations(program).app(), options.ops_port, Deadlines(), most=OPS_CONNECTIONS)
    for listener in (ops, requests):
        await listener.start()
    log.info("requests on port %d, operations on port %d", requests.port, ops.port)
    told = asyncio.create_task(program.drain.told())
    try:
        ended, _ = await asyncio.wait([*tasks, told], return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
        await _drain(requests, program.drain, options)
    finally:
        await _end([*tasks, told])
        for listener in (requests, ops):
            await listener.close()


async def _drain(requests: Listener, drain: Drain, options: ServerOptions) -> None:
    log.info("draining, %d requests under way", drain.in_flight)
    await asyncio.sleep(options.linger_seconds)
    await requests.stop()
    await drain.idle(options.drain_seconds)
    log.info("drained, %d requests left", drain.in_flight)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
