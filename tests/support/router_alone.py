"""A router as a process of its own, whose routes come from a file: `python -m support.router_alone FOLDER AGENT OPS`.

Prints its two ports once it listens.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from wardrobe_gateway.process.source import Address
from wardrobe_gateway.router import __main__ as program

from .gateway import DEPLOYMENT
from .gateway_processes import SERVICE
from .ports import free_port


class Fixed:
    """Routes and addresses that never change."""

    def __init__(self, routes: str, address: Address) -> None:
        self._routes = routes
        self._address = address

    async def routes(self) -> AsyncIterator[str | None]:
        yield self._routes
        await asyncio.Event().wait()

    async def addresses(self, service: str) -> AsyncIterator[frozenset[Address]]:
        assert service == SERVICE
        yield frozenset({self._address})
        await asyncio.Event().wait()


def main() -> None:
    """Run until SIGTERM."""
    folder, address = Path(sys.argv[1]), Address(*sys.argv[2:])
    port, ops = free_port(), free_port()
    options = ["--deployment", DEPLOYMENT, "--namespace", "n", "--routes", "r", "--service", SERVICE]
    options += ["--keys", str(folder / "keys"), "--memory", str(folder), "--linger-seconds", "0"]
    parsed = program.Options.parse([*options, "--port", str(port), "--ops-port", str(ops)])
    sys.stdout.write(f"{port} {ops}\n")
    sys.stdout.flush()
    asyncio.run(program.run(parsed, Fixed((folder / "routes.json").read_text(), address)))


if __name__ == "__main__":
    main()
