"""What agents and routers say of themselves at `/state`, asked of all pods at once."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TypeVar

import aiohttp
import pydantic

from wardrobe_contracts.base import Record
from wardrobe_contracts.state import STATE_PATH

TIMEOUT = aiohttp.ClientTimeout(total=1.0)

Answer = TypeVar("Answer", bound=Record)

log = logging.getLogger(__name__)


class PodStates:
    """A pool of connections to pods; close it at the end."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, addresses: Sequence[str | None], port: int, model: type[Answer]) -> list[Answer | None]:
        """The state of each pod in turn; None where it has no address, does not answer, or says nonsense."""
        return list(await asyncio.gather(*(self._ask(address, port, model) for address in addresses)))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, address: str | None, port: int, model: type[Answer]) -> Answer | None:
        if not address:
            return None
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        host = f"[{address}]" if ":" in address else address
        try:
            async with self._session.get(f"http://{host}:{port}{STATE_PATH}") as answer:
                answer.raise_for_status()
                return model.model_validate_json(await answer.read())
        except (aiohttp.ClientError, TimeoutError, pydantic.ValidationError) as error:
            log.debug("no state of %s:%d: %s", address, port, error)
            return None
