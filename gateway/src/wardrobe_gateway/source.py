"""Where routes and addresses come from, and how they are followed through outages."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

from pydantic import ValidationError

from wardrobe_contracts.routes import Routes

T = TypeVar("T")

FIRST_WAIT = 0.2
LONGEST_WAIT = 2.0
"""Between attempts to reach the apiserver: a rollback right after its return must not wait long."""

log = logging.getLogger(__name__)


class LostError(Exception):
    """The source is away; what it said last still holds."""


class RejectedError(Exception):
    """These routes cannot be used; the message says why."""


class Source(Protocol):
    """Streams of the current value and every later one. They end by raising LostError, and can be opened again."""

    def routes(self) -> AsyncIterator[str | None]:
        """Contents of routes.json; None where there is none."""
        ...

    def addresses(self) -> AsyncIterator[frozenset[str]]:
        """`host:port` of every engine pod, ready or not."""
        ...


def parse(text: str | None, deployment: str) -> Routes:
    """Routes of this deployment. Raises RejectedError."""
    if text is None:
        raise RejectedError("the routes are gone; the last ones stay in force")
    try:
        routes = Routes.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RejectedError(f"the routes cannot be read: {where} {first['msg']}") from error
    if routes.deployment != deployment:
        raise RejectedError(f"these are the routes of {routes.deployment}, not of {deployment}")
    return routes


async def follow(
    stream: Callable[[], AsyncIterator[T]], take: Callable[[T], None], connected: Callable[[bool], None]
) -> None:
    """Give every value of the stream to `take`, for ever; open the stream again whenever it is lost."""
    wait = FIRST_WAIT
    while True:
        try:
            async for value in stream():
                connected(True)  # noqa: FBT003  what the callback means is its name
                wait = FIRST_WAIT
                take(value)
        except LostError as error:
            log.warning("source lost: %s", error)
        connected(False)  # noqa: FBT003
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  not for secrets
        wait = min(wait * 2, LONGEST_WAIT)
