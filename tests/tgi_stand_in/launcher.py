"""The launcher: starts the shard in a process group of its own, then the router, and ends as they do.

The router is in this process; TGI's is another, which no client can tell.
"""

import asyncio
import os
import signal
import sys

from .facts import UNHEALTHY_SECONDS, Fault
from .router import Router
from .settings import Settings, read
from .wire import Shard


def main() -> None:
    """Serve until SIGTERM, then exit 0, whether all answers were finished or not (seen)."""
    sys.exit(asyncio.run(run(read())))


async def run(settings: Settings) -> int:
    """The exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if Fault.HANG in settings.faults:
        await stop.wait()
        return 0
    shard = await Shard.start()
    try:
        ready, stopped = asyncio.create_task(shard.ready.wait()), asyncio.create_task(stop.wait())
        ended = asyncio.create_task(shard.ended())
        await asyncio.wait({ready, ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            if not stopped.done():
                sys.stderr.write("Error: ShardCannotStart\n")
            return 0 if stopped.done() else 1
        return await _serve(settings, shard, ended, stopped)
    finally:
        shard.kill()


async def _serve(settings: Settings, shard: Shard, ended: "asyncio.Task[None]", stopped: "asyncio.Task[bool]") -> int:
    router = Router(settings, shard)
    await router.listen()
    sys.stderr.write(f"Connected: {settings.host}:{settings.port}\n")
    await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        sys.stderr.write("Error: ShardFailed\n")
        await asyncio.sleep(UNHEALTHY_SECONDS)
        await router.close(0)
        return 1
    await router.close(settings.graceful_seconds)
    return 0


if __name__ == "__main__":
    main()
    os._exit(0)
