"""Time as it is written, and waiting."""

import asyncio
import contextlib
import datetime
import time


def timestamp(seconds: float | None = None) -> str:
    """A time in seconds since 1970, or now, as the API writes times."""
    now = time.time() if seconds is None else seconds
    return datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after so long.

    Not by asyncio.wait_for, which in Python 3.11 forgets a cancellation that comes together with the event.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
