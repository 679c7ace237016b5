"""The router's HTTP face: who asks, for what, and how it went."""

import uuid
from pathlib import Path

import aiohttp
from aiohttp import web

from wardrobe_contracts.routes import Authentication, Routes
from wardrobe_contracts.state import RouterState

from .. import bodies
from ..admission import Admission, Place
from ..errors import RETRY_LATER, ApiError
from ..process.drain import Drain
from ..process.routes import RoutesInForce
from ..process.source import Address
from . import choice, keys, requests
from .backends import Backends
from .forward import WAITED_SECONDS, Forwarder
from .metrics import Account, Metrics
from .requests import ParsedRequest

MEMORY_FILE = "last.json"
NOBODY = ""
"""Whose body is read though no key was known: it counts like a department's."""


class Router:
    """One deployment's router. Addresses and keys are followed by others, who call `take_…`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        deployment: str,
        *,
        drain: Drain,
        memory: Path,
        body_seconds: float = bodies.BODY_SECONDS,
        waited_seconds: float = WAITED_SECONDS,
    ) -> None:
        self.metrics = Metrics()
        self.backends = Backends(session, deployment)
        self.drain = drain
        self.in_force = RoutesInForce(deployment, memory / MEMORY_FILE, self._apply)
        self.keys = keys.EMPTY
        self.incarnation = str(uuid.uuid4())
        self._admission = Admission()
        self._body_seconds = body_seconds
        self._key_texts: dict[str, str] = {}
        self._forwarder = Forwarder(session, self.backends, self.metrics, self._routes, waited_seconds)

    # What it is told

    def restore(self) -> None:
        """Begin with what was kept on disk."""
        addresses = self.in_force.restore()
        if self.in_force.routes is not None:
            self.backends.discover(addresses)

    def take_addresses(self, addresses: frozenset[Address]) -> None:
        """Engine pods, as discovered."""
        self.backends.discover(addresses)
        self.in_force.keep_addresses(addresses)

    def take_keys(self, texts: dict[str, str]) -> None:
        """Contents of the key files."""
        if texts != self._key_texts:
            self._key_texts = texts
            self._build_keys()

    def _apply(self, routes: Routes) -> None:
        self._build_keys()
        self.backends.poll_soon()
        self.metrics.keep_only(routes.departments, {adapter.engine_name for adapter in routes.adapters})

    def _build_keys(self) -> None:
        routes = self.in_force.routes
        self.keys = keys.build(list(routes.departments) if routes else [], self._key_texts)

    # What it says

    def app(self) -> web.Application:
        """What clients may ask."""
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        for path in requests.PATHS:
            app.router.add_post(path, self._answer)
        return app

    def ready(self) -> bool:
        """Whether requests should come here."""
        return self.in_force.routes is not None and self.backends.polled and not self.drain.draining

    def state(self) -> RouterState:
        """What is said at `/state`."""
        return RouterState(
            deployment=self.in_force.deployment,
            generation=self.in_force.generation,
            incarnation=self.incarnation,
            ready=self.ready(),
            draining=self.drain.draining,
            connected=self.in_force.connected,
            backends=[backend.state() for backend in self.backends],
            keys=dict(self.keys.counts),
            missing_keys=sorted(self.keys.missing),
            duplicate_keys=sorted(self.keys.duplicates),
            weak_keys=sorted(self.keys.weak),
            problem=self.in_force.problem,
        )

    async def metrics_page(self) -> bytes:
        """The metrics, as things are now."""
        return self.metrics.page(self.in_force, self.backends, self.keys)

    async def _models(self, request: web.Request) -> web.Response:
        try:
            caller = await self._caller(request)
        except ApiError as error:
            return error.response()
        names = choice.usable(self._routes(), caller)
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "wardrobe"} for name in names]
        return web.json_response({"object": "list", "data": models})

    # Requests

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        account, code = Account(), "499"
        try:
            with self.drain.request():
                response = await self._serve(request, account)
            code = "0" if account.cut else str(response.status)
        except ApiError as error:
            code = str(error.status)
            self.metrics.rejected.labels(account.department, error.code).inc()
            response = error.response()
        finally:
            if account.adapter:
                self.metrics.finish(account, code)
        if self.drain.draining and not response.prepared:
            response.force_close()
        return response

    async def _serve(self, request: web.Request, account: Account) -> web.StreamResponse:
        caller = await self._caller(request)
        account.department = caller or ""
        with (
            self._admission.request(account.department) as place,
            self.metrics.in_flight.labels(account.department).track_inprogress(),
        ):
            wanted = await self._parsed(request, place)
            return await self._forwarder.forward(request, wanted, caller, account)

    async def _caller(self, request: web.Request) -> str | None:
        """The department that asks; None where nobody is asked for a key. Raises ApiError."""
        if self._routes().authentication is Authentication.NONE:
            return None
        try:
            return keys.owner(self.keys, request.headers.get("Authorization"))
        except ApiError as error:
            if self.keys.missing and request.method == "POST":
                with self._admission.request(NOBODY) as place:
                    self._explain((await self._parsed(request, place)).model)
            raise error from None

    async def _parsed(self, request: web.Request, place: Place) -> ParsedRequest:
        body = await bodies.read(request, place.charge, seconds=self._body_seconds)
        return requests.parse(request.path, bodies.parse(body))

    def _explain(self, model: str | None) -> None:
        """A better answer to an unknown key, for who names a department that has none."""
        if model in self.keys.missing:
            message = f"{model} has no key yet: its Secret is missing, or has no entry `keys`"
            raise ApiError(401, "keys_not_loaded", message, headers=keys.ASK_FOR_KEY)

    def _routes(self) -> Routes:
        if self.in_force.routes is None:
            raise ApiError(503, "no_routes", "the routes are not known yet", headers=RETRY_LATER)
        return self.in_force.routes
