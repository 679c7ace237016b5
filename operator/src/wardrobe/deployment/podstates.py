"""What agents and routers say of themselves at `/state`, asked of all pods at once."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

import aiohttp
import pydantic

from wardrobe import podhttp
from wardrobe_contracts.base import Record
from wardrobe_contracts.routes import ROUTER_PORT
from wardrobe_contracts.state import GENERATION_QUERY, STATE_PATH

ANSWER_SECONDS = 1.0
"""For a whole answer; a rollback waits for the slowest pod."""

Answer = TypeVar("Answer", bound=Record)

SILENT_LIMIT = 10_000
"""Silent addresses that are remembered before all are forgotten, pods that are long gone among them: a few MB."""

PodAnswers = dict[tuple[str, int], tuple[type[Record], str]]
"""By address and port: as what a pod's answer was read, and its gist."""

_noted: ContextVar[PodAnswers | None] = ContextVar("noted", default=None)

COUNTERS = {"in_flight", "numbers", "timings", "since", "proved_at"}
"""What changes with every request or proof, and nothing is decided upon."""

log = logging.getLogger(__name__)


@contextmanager
def noting() -> Iterator[PodAnswers]:
    """What is asked inside the block, with what was answered."""
    noted: PodAnswers = {}
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def gist(answer: Record | None) -> str:
    """What decisions read of an answer; empty where there was none."""
    if answer is None:
        return ""
    within = {"__all__": COUNTERS}
    return answer.model_dump_json(exclude={"adapters": within, "backends": within, "engine": {"since"}})


def _note(addresses: Sequence[str | None], port: int, model: type[Record], answers: Sequence[Record | None]) -> None:
    noted = _noted.get()
    if noted is not None:
        pairs = zip(addresses, answers, strict=True)
        noted.update({(address, port): (model, gist(answer)) for address, answer in pairs if address})


class States(Protocol):
    """What a decision asks of pods."""

    async def ask(
        self, addresses: Sequence[str | None], port: int, model: type[Answer], generation: int | None = None
    ) -> list[Answer | None]:
        """The state of each pod in turn; None where it has no address, does not answer, or says nonsense.

        `generation` is that of the routes in force: a pod whose watch has died without a word learns it from this.
        """

    def silent_seconds(self, address: str | None) -> float:
        """For how long a pod has not answered when it was asked; 0 where it did, or never was asked."""


class PodStates:
    """`States` over HTTP. A pool of connections to pods; close it at the end. `clock` gives monotonic seconds.

    It remembers who does not answer, and for how long. Forgetting that delays a rollout by as long again, no more.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._silent_since: dict[str, float] = {}

    async def ask(
        self, addresses: Sequence[str | None], port: int, model: type[Answer], generation: int | None = None
    ) -> list[Answer | None]:
        """Who does not answer is remembered."""
        path = STATE_PATH if generation is None else f"{STATE_PATH}?{GENERATION_QUERY}={generation}"
        answers = list(await asyncio.gather(*(self._ask(address, port, path, model) for address in addresses)))
        for address, answer in zip(addresses, answers, strict=True):
            self._remember(address, answered=answer is not None)
        _note(addresses, port, model, answers)
        return answers

    def silent_seconds(self, address: str | None) -> float:
        since = self._silent_since.get(address) if address else None
        return 0.0 if since is None else self._clock() - since

    def _remember(self, address: str | None, *, answered: bool) -> None:
        if answered or not address:
            self._silent_since.pop(address or "", None)
            return
        if len(self._silent_since) >= SILENT_LIMIT:
            self._silent_since.clear()
        self._silent_since.setdefault(address, self._clock())

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, address: str | None, port: int, path: str, model: type[Answer]) -> Answer | None:
        if not address:
            return None
        if self._session is None:
            self._session = podhttp.session(self._answer_seconds)
        host = f"[{address}]" if ":" in address else address
        try:
            try:
                body = await podhttp.get(self._session, f"http://{host}:{port}{path}")
            except aiohttp.ClientConnectorError:  # pods of release 0.1 have one port for all
                body = await podhttp.get(self._session, f"http://{host}:{ROUTER_PORT}{path}")
            return model.model_validate_json(body)
        except (podhttp.AnswerError, aiohttp.ClientError, TimeoutError, pydantic.ValidationError) as error:
            log.debug("no state of %s:%d: %s", address, port, error)
            return None
