"""The router's HTTP face: who asks, for what, and how it went."""

import time
import uuid
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from wardrobe_contracts.routes import Authentication, Routes
from wardrobe_contracts.state import HEALTH_PATH, METRICS_PATH, READY_PATH, STATE_PATH, RouterState

from .. import saved
from ..errors import Refusal
from ..forwarding import json_body
from ..lifecycle import Drain
from ..source import RejectedError, parse
from . import asked, choice, keys
from .backends import Backends
from .forward import Forwarder
from .metrics import Account, Metrics


class Router:
    """One deployment's router. Sources and key folders are followed by others, who call `take_…`."""

    def __init__(
        self, session: aiohttp.ClientSession, deployment: str, *, drain: Drain, memory: Path | None, max_body: int
    ) -> None:
        self.metrics = Metrics()
        self.backends = Backends(session, deployment)
        self.drain = drain
        self.routes: Routes | None = None
        self.keys = keys.EMPTY
        self.connected = False
        self.problem = ""
        self.incarnation = str(uuid.uuid4())
        self._deployment = deployment
        self._max_body = max_body
        self._memory = memory
        self._saved = saved.Saved()
        self._key_texts: dict[str, str] = {}
        self._applied_at = time.monotonic()
        self._forwarder = Forwarder(session, self.backends, self.metrics, self._routes)

    # What it is told

    def restore(self) -> None:
        """Begin with what was kept on disk."""
        if self._memory is None:
            return
        self._saved = saved.load(self._memory)
        if self._saved.routes is not None:
            self.take_routes(self._saved.routes)
            self.backends.discover(self._saved.addresses)

    def take_routes(self, text: str | None) -> None:
        """Route by these from now on; or say why not, and go on with the last ones."""
        try:
            routes = parse(text, self._deployment)
        except RejectedError as error:
            self.problem = str(error)
            return
        self.routes, self.problem = routes, ""
        self._applied_at = time.monotonic()
        self._build_keys()
        self.backends.poll_soon()
        self.metrics.keep_only(routes.departments, {adapter.version for adapter in routes.adapters})
        self._keep(saved.Saved(text, self._saved.addresses))

    def take_addresses(self, addresses: frozenset[str]) -> None:
        """Engine pods, as discovered."""
        self.backends.discover(addresses)
        self._keep(saved.Saved(self._saved.routes, addresses))

    def take_keys(self, texts: dict[str, str]) -> None:
        """Contents of the key files."""
        if texts != self._key_texts:
            self._key_texts = texts
            self._build_keys()

    def take_connected(self, connected: bool) -> None:
        """Whether the routes are being watched."""
        self.connected = connected

    def _build_keys(self) -> None:
        self.keys = keys.build(list(self._routes().departments) if self.routes else [], self._key_texts)

    def _keep(self, now: saved.Saved) -> None:
        if now != self._saved:
            self._saved = now
            if self._memory is not None:
                saved.store(self._memory, now)

    # What it says

    def app(self) -> web.Application:
        """All paths."""
        app = web.Application(client_max_size=self._max_body, middlewares=[_errors])
        app.router.add_get(HEALTH_PATH, self._health)
        app.router.add_get(READY_PATH, self._ready)
        app.router.add_get(STATE_PATH, self._state)
        app.router.add_get(METRICS_PATH, self._metrics_page)
        app.router.add_get("/v1/models", self._models)
        for path in asked.PATHS:
            app.router.add_post(path, self._answer)
        return app

    def ready(self) -> bool:
        """Whether requests should come here."""
        return self.routes is not None and self.backends.polled and not self.drain.draining

    def state(self) -> RouterState:
        """What is said at `/state`."""
        return RouterState(
            deployment=self._deployment,
            generation=self.routes.generation if self.routes else None,
            incarnation=self.incarnation,
            ready=self.ready(),
            draining=self.drain.draining,
            connected=self.connected,
            backends=[backend.state() for backend in self.backends],
            keys=dict(self.keys.counts),
            missing_keys=sorted(self.keys.missing),
            duplicate_keys=sorted(self.keys.duplicates),
            problem=self.problem,
        )

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _ready(self, _: web.Request) -> web.Response:
        ready = self.ready()
        return web.Response(text="ready" if ready else "not ready", status=200 if ready else 503)

    async def _state(self, _: web.Request) -> web.Response:
        return web.Response(body=self.state().model_dump_json(by_alias=True), content_type="application/json")

    async def _metrics_page(self, _: web.Request) -> web.Response:
        metrics = self.metrics
        metrics.generation.set(self.routes.generation if self.routes else 0)
        metrics.age.set(time.monotonic() - self._applied_at)
        metrics.connected.set(self.connected)
        metrics.backends.set(sum(backend.answering for backend in self.backends))
        metrics.keys_missing.set(len(self.keys.missing))
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _models(self, request: web.Request) -> web.Response:
        caller = await self._caller(request)
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
        except Refusal as refusal:
            code = str(refusal.status)
            self.metrics.rejected.labels(account.department, refusal.code).inc()
            response = refusal.response()
        finally:
            if account.version:
                self.metrics.finish(account, code)
        if self.drain.draining and not response.prepared:
            response.force_close()
        return response

    async def _serve(self, request: web.Request, account: Account) -> web.StreamResponse:
        caller = await self._caller(request)
        account.department = caller or ""
        wanted = asked.read(request.path, await json_body(request))
        with self.metrics.in_flight.labels(account.department).track_inprogress():
            return await self._forwarder.forward(request, wanted, caller, account)

    async def _caller(self, request: web.Request) -> str | None:
        """The department that asks; None where nobody is asked for a key. Raises Refusal."""
        if self._routes().authentication is Authentication.NONE:
            return None
        try:
            return keys.owner(self.keys, request.headers.get("Authorization"))
        except Refusal as refusal:
            if self.keys.missing and request.method == "POST":
                self._explain(asked.read(request.path, await json_body(request)).model)
            raise refusal from None

    def _explain(self, model: str | None) -> None:
        """A better answer to an unknown key, for who names a department that has none."""
        if model in self.keys.missing:
            message = f"{model} has no key yet: its Secret is missing, or has no entry `keys`"
            raise Refusal(401, "keys_not_loaded", message, headers=keys.ASK_FOR_KEY)

    def _routes(self) -> Routes:
        if self.routes is None:
            raise Refusal(503, "no_routes", "the routes are not known yet", headers=choice.RETRY_LATER)
        return self.routes


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What aiohttp and our own handlers raise, in OpenAI's format."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return refusal.response()
    except web.HTTPException as error:
        message = f"{request.method} {request.path}: {error.reason}"
        return Refusal(error.status, error.reason.lower().replace(" ", "_"), message).response()
