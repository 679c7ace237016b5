"""One request's way: by the routes of the moment to a backend that has proved the version, or to the next one."""

from collections.abc import Callable

import aiohttp
from aiohttp import web

from wardrobe_contracts.routes import Routes
from wardrobe_contracts.state import VERSION_HEADER

from ..errors import Refusal
from ..forwarding import first_piece, request_headers
from . import asked as requests
from .asked import Asked
from .backends import Backend, Backends
from .choice import RETRY_LATER, Target, pick, resolve
from .metrics import Account, Metrics
from .relay import Answer, relay

NOT_TAKEN = frozenset({421, 429, 502, 503})
"""Answers of an agent by which nothing was done: not proved here, too busy, engine away."""


class TryAnotherError(Exception):
    """This backend has not answered, and nothing reached the client."""

    def __init__(self, reason: str, refusal: Refusal | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refusal = refusal


class Forwarder:
    """Passes requests on. `routes` gives the routes in force."""

    def __init__(
        self, session: aiohttp.ClientSession, backends: Backends, metrics: Metrics, routes: Callable[[], Routes]
    ) -> None:
        self._session = session
        self._backends = backends
        self._metrics = metrics
        self._routes = routes

    async def forward(
        self, request: web.Request, asked: Asked, caller: str | None, account: Account
    ) -> web.StreamResponse:
        """Answer from the first backend that will. Raises Refusal when none does."""
        refused: set[str] = set()
        broken: set[str] = set()
        asked_all, last = False, None
        while True:
            target = resolve(self._routes(), caller, asked.model)  # routes may change between attempts
            account.department, account.version = target.department, target.version
            backend = pick(self._backends, target.version, refused | broken)
            if backend is not None:
                try:
                    with self._backends.request(backend):
                        return await self._attempt(request, backend, asked, target, account)
                except TryAnotherError as error:
                    self._metrics.retries.labels(error.reason).inc()
                    last = error.refusal or last
                    (refused if error.refusal else broken).add(backend.address)
            elif not asked_all:
                # what is known may be a second old: ask once, and give those a chance whose connection had grown stale
                asked_all = True
                broken.clear()
                await self._backends.refresh()
            else:
                raise last or _nobody(target)

    async def _attempt(
        self, request: web.Request, backend: Backend, asked: Asked, target: Target, account: Account
    ) -> web.StreamResponse:
        """Ask one backend. Raises TryAnotherError while nothing has reached the client."""
        try:
            upstream = await self._session.post(
                backend.url + asked.path,
                data=requests.body_for(asked, target.version),
                headers=request_headers(request.headers),
            )
            async with upstream:
                await _require_taken(upstream, target)
                answer = Answer(upstream, await first_piece(upstream))
                return await relay(request, answer, asked, target, account)
        except aiohttp.ConnectionTimeoutError as error:
            raise self._broken(backend) from error
        except TimeoutError as error:
            raise Refusal(504, "engine_timeout", "the engine did not answer in time") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise self._broken(backend) from error

    def _broken(self, backend: Backend) -> TryAnotherError:
        backend.silent()
        self._backends.poll_soon()
        return TryAnotherError("connection")


async def _require_taken(upstream: aiohttp.ClientResponse, target: Target) -> None:
    """Go on only with an answer, and only from the version that was asked for."""
    status = upstream.status
    if status == 429:
        message = "all replicas are at their limit; try again"
        raise TryAnotherError("overloaded", Refusal(429, "overloaded", message, headers=RETRY_LATER))
    if status in NOT_TAKEN:
        await upstream.read()
        raise TryAnotherError(str(status), _nobody(target))
    if upstream.headers.get(VERSION_HEADER) != target.version:
        raise TryAnotherError("wrong_version", _nobody(target))


def _nobody(target: Target) -> Refusal:
    message = f"no replica that answers has proved {target.version} for {target.department}; try again"
    return Refusal(503, "no_proved_backend", message, headers=RETRY_LATER)
