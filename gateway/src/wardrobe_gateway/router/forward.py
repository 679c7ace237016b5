"""One request's way: by the routes of the moment to a backend that has proved the adapter, or to the next one."""

import time
from collections.abc import Callable

import aiohttp
from aiohttp import web

from wardrobe_contracts.routes import Routes
from wardrobe_contracts.state import ADAPTER_HEADER, DEPARTMENT_HEADER, ENGINE_REACHED_HEADER, WAIT_HEADER

from ..engines.messages import error_message
from ..errors import RETRY_LATER, ApiError
from ..forwarding import first_piece, request_headers
from . import requests
from .backends import Backend, Backends, all_restarting
from .choice import Target, pick, resolve
from .metrics import Account, Metrics
from .relay import Answer, relay
from .requests import ParsedRequest

NOT_TAKEN = frozenset({421, 429, 502, 503})
"""Answers of an agent by which nothing was done: not proved here, too busy, engine away."""
MOST_REACHED = 2
"""Engines that one request may have reached. One that kills its engine must not meet every replica."""
UNSAID = {421: "no", 503: "no"}
"""Agents of release 0.1 do not say whether they asked their engine; before these answers they had not."""
WAITED_SECONDS = 1.0
"""A replica that says sooner that it is full kept nobody waiting: the request may still wait at the next one."""
OVERLOADED = "overloaded"
NOT_SERVED = "421"
RESTART = {"Retry-After": "15"}
"""An engine that reads its base anew takes from half a minute to some minutes."""


class TryAnotherError(Exception):
    """This backend has not answered, and nothing reached the client."""

    def __init__(self, reason: str, answer: ApiError | None = None, *, reached: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = answer
        self.reached = reached
        """Whether its engine may have had the request."""


class Forwarder:
    """Passes requests on. `routes` gives the routes in force."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        backends: Backends,
        metrics: Metrics,
        routes: Callable[[], Routes],
        waited_seconds: float,
    ) -> None:
        self._session = session
        self._backends = backends
        self._metrics = metrics
        self._routes = routes
        self._waited_seconds = waited_seconds

    async def forward(
        self, request: web.Request, parsed: ParsedRequest, caller: str | None, account: Account
    ) -> web.StreamResponse:
        """Answer from the first backend that will. Raises ApiError when none does."""
        unwilling: set[str] = set()
        broken: set[str] = set()
        refreshed, turned_away, reached, last = False, False, 0, None
        while True:
            target = resolve(self._routes(), caller, parsed.model)  # routes may change between attempts
            account.department, account.adapter = target.department, target.adapter
            backend = pick(self._backends, target.adapter, unwilling | broken, time.monotonic())
            if backend is not None:
                began = time.monotonic()
                try:
                    with self._backends.request(backend):
                        return await self._attempt(request, backend, parsed, target, account, waits=not turned_away)
                except TryAnotherError as error:
                    self._metrics.retries.labels(error.reason).inc()
                    last = error.answer or last
                    waited = time.monotonic() - began > self._waited_seconds
                    turned_away = turned_away or (error.reason == OVERLOADED and waited)
                    reached += error.reached
                    if reached == MOST_REACHED:
                        raise error.answer or _failed(target) from error
                    (unwilling if error.answer else broken).add(backend.address)
            elif not refreshed:
                # what is known may be a second old: ask once, and give those a chance whose connection had grown stale
                refreshed = True
                broken.clear()
                await self._backends.refresh()
            elif (last is None or last.code == "no_proved_backend") and all_restarting(self._backends):
                raise _between(target)
            else:
                raise last or _nobody(target)

    async def _attempt(
        self,
        request: web.Request,
        backend: Backend,
        parsed: ParsedRequest,
        target: Target,
        account: Account,
        *,
        waits: bool,
    ) -> web.StreamResponse:
        """Ask one backend. Raises TryAnotherError while nothing has reached the client."""
        try:
            upstream = await self._session.post(
                backend.url + parsed.path,
                data=requests.body_for(parsed, target.adapter),
                headers=_headers(request, target, waits=waits),
                allow_redirects=False,
            )
            async with upstream:
                await _require_taken(upstream, target)
                answer = Answer(upstream, await first_piece(upstream))
                _judge(backend, upstream.status)
                return await relay(request, answer, parsed, target, account)
        except TryAnotherError as error:
            if error.reason == NOT_SERVED:
                backend.lacks(target.adapter)
            elif error.reason != OVERLOADED:
                backend.failed(time.monotonic())
            raise
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:  # nothing was sent
            raise self._broken(backend, reached=False) from error
        except TimeoutError as error:
            backend.failed(time.monotonic())
            raise ApiError(504, "engine_timeout", "the engine did not answer in time") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise self._broken(backend, reached=True) from error

    def _broken(self, backend: Backend, *, reached: bool) -> TryAnotherError:
        backend.silent()
        backend.failed(time.monotonic())
        self._backends.poll_soon()
        return TryAnotherError("connection", reached=reached)


def _headers(request: web.Request, target: Target, *, waits: bool) -> dict[str, str]:
    """Ours: the body is no longer the client's, and who asks is not the client's to say."""
    ours = {"Content-Type": "application/json", DEPARTMENT_HEADER: target.department}
    once = {} if waits else {WAIT_HEADER: "no"}  # it waits at one replica, not at each of them
    return request_headers(request.headers) | ours | once


def _judge(backend: Backend, status: int) -> None:
    """An answer has begun: the engine's failure, or anything else."""
    if status >= 500:
        backend.failed(time.monotonic())
    else:
        backend.answered()


async def _require_taken(upstream: aiohttp.ClientResponse, target: Target) -> None:
    """Go on only with an answer, and only from the adapter that was asked for."""
    status = upstream.status
    reached = upstream.headers.get(ENGINE_REACHED_HEADER, UNSAID.get(status)) != "no"
    if status == 429:  # and an engine that says so lives, and has done nothing
        message = "all replicas are at their limit; try again"
        raise TryAnotherError(OVERLOADED, ApiError(429, "overloaded", message, headers=RETRY_LATER), reached=False)
    if status in NOT_TAKEN:
        await upstream.read()
        raise TryAnotherError(str(status), _failed(target) if reached else _nobody(target), reached=reached)
    if 400 <= status < 500 and not reached:  # the agent's word on the request, which another agent would give as well
        raise ApiError(status, "engine_refused", error_message(await upstream.read()))
    if upstream.headers.get(ADAPTER_HEADER) != target.adapter:
        raise TryAnotherError("wrong_adapter", _nobody(target), reached=reached)


def _nobody(target: Target) -> ApiError:
    message = f"no replica that answers has proved {target.adapter} for {target.department}; try again"
    return ApiError(503, "no_proved_backend", message, headers=RETRY_LATER)


def _between(target: Target) -> ApiError:
    message = (
        f"the engine that answers for {target.adapter} is being restarted with other adapters, and there is no other: "
        "it answers again within some minutes"
    )
    return ApiError(503, "engine_restarting", message, headers=RESTART)


def _failed(target: Target) -> ApiError:
    message = f"an engine broke off while {target.adapter} was to answer this; not every replica is asked the same"
    return ApiError(503, "engines_failed", message)
