"""Router and agent as processes without a cluster: `python -m support.gateway_alone agent|router [AGENT OPS] OPTION…`.

Their routes come by stdin, one line each, and they end with it.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from wardrobe_gateway.agent import __main__ as agent
from wardrobe_gateway.process.source import Address
from wardrobe_gateway.router import __main__ as router

from .gateway import DEPLOYMENT
from .gateway_processes import SERVICE, Program
from .ports import free_port

IDENTITY = ["--deployment", DEPLOYMENT, "--namespace", "n", "--routes", "r"]
LINE = 1 << 24
"""Bytes of routes at most."""


class Lines:
    """Routes as they are said, none before the first; and addresses that never change."""

    def __init__(self, addresses: frozenset[Address]) -> None:
        self._addresses = addresses
        self._said: str | None = None
        self._changed = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def routes(self) -> AsyncIterator[str | None]:
        self._reading = self._reading or asyncio.create_task(self._read())  # a stream is opened again where doubted
        told = None
        while True:
            changed = self._changed
            if self._said == told:
                await changed.wait()
            told = self._said
            yield told

    async def addresses(self, service: str) -> AsyncIterator[frozenset[Address]]:
        assert service == SERVICE
        yield self._addresses
        await asyncio.Event().wait()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            self._said = line.decode()
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
        signal.raise_signal(signal.SIGTERM)


def agent_program(folder: Path, *options: str) -> Program:
    """An agent; its cache and log are in the folder."""
    (folder / "cache").mkdir()
    return _program(folder, "agent", *IDENTITY, "--cache", str(folder / "cache"), *options)


def router_program(folder: Path, before: Program) -> Program:
    """A router before one agent; its keys are in `<folder>/keys`, its log and memory in the folder."""
    (folder / "memory").mkdir()
    addresses = [f"127.0.0.1:{port}" for port in (before.port, before.ops_port)]
    places = ["--service", SERVICE, "--keys", str(folder / "keys"), "--memory", str(folder / "memory")]
    return _program(folder, "router", *addresses, *IDENTITY, *places)


def _program(folder: Path, role: str, *arguments: str) -> Program:
    return Program(
        arguments=["support.gateway_alone", role, *arguments, "--linger-seconds", "0", "--log-level", "warning"],
        environment={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        port=free_port(),
        ops_port=free_port(),
        log=folder / f"{role}.log",
        is_told=True,
    )


def main() -> None:
    """Run until stdin ends."""
    role, *rest = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if role == "agent":
        asyncio.run(agent.run(agent.Options.parse(rest), Lines(frozenset())))
    else:
        requests, ops, *options = rest
        asyncio.run(router.run(router.Options.parse(options), Lines(frozenset({Address(requests, ops)}))))


if __name__ == "__main__":
    main()
