"""Engine pods: found by EndpointSlices, known by what their agents say."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

import aiohttp
from pydantic import ValidationError

from wardrobe_contracts.state import STATE_PATH, AgentState, BackendState

from ..lifecycle import wait

POLL_SECONDS = 1.0
ANSWER = aiohttp.ClientTimeout(total=2, sock_connect=1)
REFRESH_SECONDS = 1.0
"""How long a request waits for news when no known backend has proved what it asks for."""
JOIN_SECONDS = 0.02
"""News from a round that began longer ago may be older than the routes that made somebody ask."""

log = logging.getLogger(__name__)


class Backend:
    """One engine pod."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.listed = True
        self.answering = False
        self.serves: frozenset[str] = frozenset()
        self.in_flight = 0
        self.last_used = 0
        self.generation: int | None = None
        self.incarnation = ""

    @property
    def url(self) -> str:
        """Of its agent."""
        return f"http://{self.address}"

    def heard(self, state: AgentState) -> None:
        """Its agent answered."""
        self.answering = True
        self.generation = state.generation
        self.incarnation = state.incarnation
        self.serves = frozenset(version for version in state.versions if state.serves(version))

    def silent(self) -> None:
        """Its agent did not answer; it gets no requests until it does."""
        self.answering = False
        self.serves = frozenset()

    def state(self) -> BackendState:
        """As `/state` shows it."""
        return BackendState(
            address=self.address,
            answering=self.answering,
            generation=self.generation,
            serves=sorted(self.serves),
            in_flight=self.in_flight,
        )


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

    def discover(self, addresses: frozenset[str]) -> None:
        """Take over what the slices list. One that is listed no longer is kept while its agent answers."""
        for address in addresses - self._known.keys():
            self._known[address] = Backend(address)
        for address, backend in self._known.items():
            backend.listed = address in addresses
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
            async with self._session.get(backend.url + STATE_PATH, timeout=ANSWER) as answer:
                state = AgentState.model_validate_json(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError):
            backend.silent()
            return
        if state.deployment == self._deployment and self._is_same(backend, state):
            backend.heard(state)
        else:
            backend.silent()

    def _is_same(self, backend: Backend, state: AgentState) -> bool:
        """Another process at an address that is listed no longer is somebody else's pod."""
        return backend.listed or backend.incarnation == state.incarnation
