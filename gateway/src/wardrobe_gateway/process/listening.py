"""One application on one port, whose connections can neither outlast their use nor exhaust the process."""

import asyncio
import logging
import resource
import socket

from aiohttp import web

from .connection import Connection, Connections, Deadlines

END_SECONDS = 1
"""What is still under way when the process ends may take so long to be told."""
MAX_CONNECTIONS = 1024
"""Of one port: twice what may be under way in a router. Each idle one takes about 20 kB."""
OPS_CONNECTIONS = 128
"""Kubelet, operator, Prometheus and routers: a few each."""
RECEIVE_BYTES = 32 * 1024
"""What the kernel keeps of one connection and gives at once; by default it grows to megabytes, times a thousand."""
FILES = 8192
"""Wanted of the process: the connections of two ports, as many to backends, and room."""

log = logging.getLogger(__name__)


class Listener:
    """Takes connections for an application from `start` to `close`; after `stop` no new ones."""

    def __init__(
        self,
        app: web.Application,
        port: int,
        deadlines: Deadlines,
        *,
        host: str | None = None,
        most: int = MAX_CONNECTIONS,
    ) -> None:
        self.port = port
        """Where it listens; 0 until it has started on any free one."""
        self.connections = Connections(min(most, _files() // 4), deadlines)
        self._deadlines = deadlines
        self._host = host
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=END_SECONDS)
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, self._host, self.port, start_serving=False
        )
        for listening in self._server.sockets:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)  # connections inherit it
        await self._server.start_serving()
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Take no new connections; those there are go on."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """End all connections."""
        await self.stop()
        await self._runner.cleanup()
        self.connections.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    def _connection(self) -> Connection:
        server = self._runner.server
        assert server is not None  # noqa: S101  `start` set it up
        return Connection(server, self.connections)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._deadlines.sweep)
            self.connections.sweep(asyncio.get_running_loop().time())


def _files() -> int:
    """Files that the process may have open, after asking for as many as are wanted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if wanted < FILES:
        log.warning("%d files may be open and %d are wanted: raise the container's limit of files", hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(soft, wanted)
