"""Engine pods: found by EndpointSlices, known by what their agents say."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Iterator

import aiohttp
from pydantic import ValidationError

from wardrobe_contracts.state import STATE_PATH, AgentState, BackendState

from ..clock import wait
from ..process.source import Address

POLL_SECONDS = 1.0
ANSWER = aiohttp.ClientTimeout(total=2, sock_connect=1)
REFRESH_SECONDS = 1.0
"""How long a request waits for news when no known backend has proved what it asks for."""
JOIN_SECONDS = 0.02
"""News from a round that began longer ago may be older than the routes that made somebody ask."""
ASIDE_SECONDS = 0.25
"""Twice as long is a backend set aside that failed once, and again twice as long after each further failure."""
LONGEST_ASIDE_SECONDS = 30.0
"""Then it is tried again: an engine takes about that long to start anew."""
SILENT_SECONDS = 5.0
"""An agent whose word is late for less keeps its requests, after all others: it turns away itself what it has not
proved, and on a busy machine one late word must not leave a department without an answer."""
MAX_STATE_BYTES = 4 * 1024 * 1024
"""Of what an agent says: a thousand adapters. Whoever listens at a listed address could say more."""

log = logging.getLogger(__name__)


class Backend:
    """One engine pod."""

    def __init__(self, address: Address) -> None:
        self.address = address.requests
        self.ops = address.ops
        self.listed = True
        self.answering = False
        self.serves: frozenset[str] = frozenset()
        self.restarting = False
        """Whether its engine is being restarted with other adapters."""
        self.in_flight = 0
        self.last_used = 0
        self.generation: int | None = None
        self.incarnation = ""
        self.aside_until = 0.0
        """Until then another is preferred."""
        self.late = False
        """Whether its agent, which was connected to, has not said its state in time; another is preferred."""
        self._failures = 0
        self._heard_at = 0.0

    @property
    def url(self) -> str:
        """Where its agent takes requests."""
        return f"http://{self.address}"

    def took_state(self, state: AgentState, now: float) -> None:
        """Its agent answered."""
        self.answering, self.late, self._heard_at = True, False, now
        self.generation = state.generation
        self.incarnation = state.incarnation
        self.serves = frozenset(name for name in state.adapters if state.serves(name))
        self.restarting = state.engine_sets is not None and state.engine_sets.restarting

    def silent(self) -> None:
        """Its agent did not answer; it gets no requests until it does."""
        self.answering = self.late = False
        self.serves = frozenset()
        self.restarting = False

    def overdue(self, now: float) -> None:
        """Its agent was connected to, and did not answer in time."""
        if now - self._heard_at < SILENT_SECONDS:
            self.late = self.answering
        else:
            self.silent()

    def lacks(self, adapter: str) -> None:
        """It does not serve what it said it did, and gets no such request until it says so again. Others it answers."""
        self.serves -= {adapter}

    def failed(self, now: float) -> None:
        """A request failed here. One that fails fast looks idle, and would be sent everything."""
        if now >= self.aside_until:  # what failed meanwhile was under way at the same time
            self._failures += 1
            self.aside_until = now + min(ASIDE_SECONDS * 2**self._failures, LONGEST_ASIDE_SECONDS)

    def answered(self) -> None:
        """A request was answered here."""
        self._failures, self.aside_until = 0, 0.0

    def state(self) -> BackendState:
        """As `/state` shows it."""
        return BackendState(
            address=self.address,
            answering=self.answering,
            generation=self.generation,
            serves=sorted(self.serves),
            in_flight=self.in_flight,
        )


def all_restarting(backends: Iterable[Backend]) -> bool:
    """Whether all that answer are away for other adapters, so that no other may come to serve what is asked for."""
    answering = [one for one in backends if one.answering]
    return bool(answering) and all(one.restarting for one in answering)


class Backends:
    """All engine pods of the deployment. `run` polls for ever."""

    def __init__(self, session: aiohttp.ClientSession, deployment: str) -> None:
        self.polled = False
        """Whether it was ever known which pods there are, and all of them were asked."""
        self._session = session
        self._deployment = deployment
        self._known: dict[str, Backend] = {}
        self._wake = asyncio.Event()
        self._round: asyncio.Task[None] | None = None
        self._round_began = 0.0
        self._discovered = False
        self._uses = 0

    def __iter__(self) -> Iterator[Backend]:
        return iter(self._known.values())

    def discover(self, addresses: frozenset[Address]) -> None:
        """Take over what the slices list. One that is listed no longer is kept while its agent answers."""
        listed = {address.requests: address for address in addresses}
        for name, address in listed.items():
            self._known.setdefault(name, Backend(address)).ops = address.ops
        for name, backend in self._known.items():
            backend.listed = name in listed
        self._discovered = True
        self.poll_soon()

    def poll_soon(self) -> None:
        """Something changed: ask now."""
        self._wake.set()

    @contextlib.contextmanager
    def request(self, backend: Backend) -> Iterator[None]:
        """Around a request to a backend."""
        self._uses += 1
        backend.last_used = self._uses
        backend.in_flight += 1
        try:
            yield
        finally:
            backend.in_flight -= 1

    async def refresh(self) -> None:
        """Ask all of them, or join who has just begun to; return when all have answered, or soon."""
        now = time.monotonic()
        if self._round is None or self._round.done() or now - self._round_began > JOIN_SECONDS:
            self._round = asyncio.create_task(self._poll_all())
            self._round_began = now
        await asyncio.wait([self._round], timeout=REFRESH_SECONDS)

    async def run(self) -> None:
        """Ask every second, and at once after a change."""
        while True:
            self._wake.clear()
            await self.refresh()
            await wait(self._wake, POLL_SECONDS)

    async def _poll_all(self) -> None:
        discovered = self._discovered
        await asyncio.gather(*(self._poll(backend) for backend in list(self._known.values())))
        for backend in [found for found in self._known.values() if not (found.listed or found.answering)]:
            log.info("%s is gone", backend.address)
            del self._known[backend.address]
        self.polled = self.polled or discovered

    async def _poll(self, backend: Backend) -> None:
        try:
            state = await self._state(backend)
        except aiohttp.ConnectionTimeoutError:
            backend.silent()
            return
        except TimeoutError:
            backend.overdue(time.monotonic())
            return
        except (aiohttp.ClientError, OSError, ValidationError):
            backend.silent()
            return
        if state.deployment == self._deployment and self._is_same(backend, state):
            backend.took_state(state, time.monotonic())
        else:
            backend.silent()

    async def _state(self, backend: Backend) -> AgentState:
        """What its agent says; one of release 0.1 says it where it takes requests, and has no other port."""
        try:
            return await self._ask(f"http://{backend.ops}")
        except aiohttp.ClientConnectorError:
            return await self._ask(backend.url)

    async def _ask(self, url: str) -> AgentState:
        async with self._session.get(url + STATE_PATH, timeout=ANSWER, allow_redirects=False) as answer:
            return AgentState.model_validate_json(await _bounded(answer))

    def _is_same(self, backend: Backend, state: AgentState) -> bool:
        """Another process at an address that is listed no longer is somebody else's pod."""
        return backend.listed or backend.incarnation == state.incarnation


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """All of it. Raises ClientPayloadError where it is longer than an agent's state can be."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_STATE_BYTES:
            raise aiohttp.ClientPayloadError(f"longer than {MAX_STATE_BYTES} bytes")
    return bytes(body)
