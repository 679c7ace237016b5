"""The engine pod's only listener: requests that name a served adapter go to the engine, all others are turned away."""

from collections.abc import Callable, Mapping

import aiohttp
from aiohttp import web

from wardrobe_contracts.engines import ENGINES
from wardrobe_contracts.state import (
    ADAPTER_HEADER,
    DEPARTMENT_HEADER,
    DIGEST_HEADER,
    ENGINE_REACHED_HEADER,
    STATE_PATH,
    WAIT_HEADER,
    AgentState,
)

from .. import bodies
from ..admission import Admission
from ..errors import RETRY_LATER, ApiError
from ..forwarding import answer_headers, cut, first_event, first_piece, is_stream, request_headers
from ..process.drain import Drain
from ..process.operations import Operations
from ..process.routes import RoutesInForce
from .adapters import LocalAdapter
from .engine_admission import EngineAdmission
from .engine_metrics import EngineMetrics
from .metrics import Metrics
from .probing import AT_ONCE
from .reconciler import Reconciler

MAX_BODY_BYTES = 2_000_000
"""The engine's bound. The router's is below, and is the one that callers meet."""
BYTES_UNDER_WAY = 24 * 1024 * 1024
"""Of all bodies. Less than the engine takes (32 MiB), so that it never refuses a proof for departments' bodies."""
MEMORY_FILE = "last.json"
"""In the cache: the last routes, for a start while the apiserver is away."""


class Agent:
    """Answers for the adapters of one pod."""

    def __init__(
        self,
        reconciler: Reconciler,
        session: aiohttp.ClientSession,
        engine_url: str,
        drain: Drain,
        bytes_under_way: int = BYTES_UNDER_WAY,
    ) -> None:
        self.reconciler = reconciler
        self.drain = drain
        self.in_force = RoutesInForce(
            reconciler.settings.deployment, reconciler.settings.cache / MEMORY_FILE, reconciler.apply
        )
        self._session = session
        self._engine_url = engine_url
        together = reconciler.settings.max_concurrent_requests or reconciler.engine.facts.batch
        self.engine_admission = EngineAdmission(together - AT_ONCE)
        self._admission = Admission(size=bytes_under_way)
        self._metrics = Metrics()
        patience = reconciler.settings.patience
        self._engine_metrics = EngineMetrics(session, engine_url, reconciler.engine.own_metrics, patience.metrics)

    def app(self) -> web.Application:
        """What routers may ask."""
        app = web.Application()
        app.router.add_get(
            STATE_PATH, Operations(self).state
        )  # for routers of release 0.1, until the deployment has rolled
        for path in sorted({path for facts in ENGINES.values() for path in facts.requests}):
            app.router.add_post(path, self._answer)  # routers do not know which of them this engine has
        return app

    def ready(self) -> bool:
        """Whether requests should come here."""
        return self.reconciler.ready(draining=self.drain.draining)

    async def metrics_page(self) -> bytes:
        """The metrics, as things are now, and the engine's own where it answers."""
        engine = await self._engine_metrics.read() if self.reconciler.health.state.up else b""
        return self._metrics.page(self.reconciler, self.engine_admission, engine)

    def state(self) -> AgentState:
        """What is said at `/state`."""
        reconciler = self.reconciler
        return AgentState(
            deployment=self.in_force.deployment,
            generation=self.in_force.generation,
            incarnation=reconciler.incarnation,
            ready=self.ready(),
            draining=self.drain.draining,
            engine=reconciler.health.state,
            adapters={
                name: local.state(reconciler.verification, reconciler.in_flight[name])
                for name, local in reconciler.adapters.by_name.items()
            },
            problem=self.in_force.problem,
            engine_sets=reconciler.engine_sets,
        )

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        code = "0"
        try:
            with self.drain.request():
                response = await self._admitted(request)
            code = str(response.status)
        except ApiError as error:
            code = str(error.status)
            self._metrics.errors.labels(error.code).inc()
            response = error.response()
            response.headers.setdefault(ENGINE_REACHED_HEADER, "no")
        finally:
            self._metrics.requests.labels(code).inc()
        if self.drain.draining and not response.prepared:
            response.force_close()
        return response

    async def _admitted(self, request: web.Request) -> web.StreamResponse:
        """Turn away what cannot be answered; the rest waits for its place. Of its body only the bytes are kept."""
        department = self._department(request)
        with self._admission.request(department) as place:
            body = await bodies.read(request, place.charge, MAX_BODY_BYTES)
            name, body = self._understood(request.path, body)  # before it waits
            async with self.engine_admission.place(department, waits=WAIT_HEADER not in request.headers):
                return await self._forward(request, body, self._served(name))

    def _department(self, request: web.Request) -> str:
        """Who asks, as the router says. Only names in the routes count: nobody makes up a department for more turns."""
        named = request.headers.get(DEPARTMENT_HEADER, "")
        routes = self.in_force.routes
        return named if routes is not None and named in routes.departments else ""

    def _understood(self, path: str, body: bytes) -> tuple[str | None, bytes]:
        """The adapter that a request asks for, and the body that the engine gets.

        Raises ApiError where the adapter is not served, or the request asks for too much.
        """
        requests = self.reconciler.engine.facts.requests
        if (offered := requests.get(path)) is None:
            message = f"this deployment's engine does not answer at {path}; ask at {', '.join(sorted(requests))}"
            raise ApiError(404, "not_offered", message)
        payload = bodies.parse(body)
        name = offered.adapter_in(payload)
        self._served(name)
        if (field := offered.forbidden_in(payload)) is not None:
            message = f"{offered.why_forbidden(field)}; ask without it"
            raise ApiError(422, "not_for_departments", message, param=field)
        prepared = offered.prepared(payload)
        return name, body if prepared is payload else bodies.encode(prepared)

    async def _forward(self, request: web.Request, body: bytes, local: LocalAdapter) -> web.StreamResponse:
        headers = {ADAPTER_HEADER: local.name, DIGEST_HEADER: local.routed.digest}
        reached = {**headers, ENGINE_REACHED_HEADER: "yes"}
        with self.reconciler.request(local.name):
            try:
                async with self._session.post(
                    self._engine_url + request.path,
                    data=body,
                    headers=request_headers(request.headers),
                    allow_redirects=False,
                ) as upstream:
                    if upstream.status in self.reconciler.engine.lost:
                        raise self._lost(local.name)
                    if not upstream.ok:  # which is no progress
                        return await _pass_on(request, upstream, await first_piece(upstream), reached, _ignore)
                    begun = await self._begun(upstream, reached)
                    return await _pass_on(request, upstream, begun, headers, self.reconciler.health.progressed)
            except aiohttp.ClientConnectorError as error:
                self.reconciler.health.suspect()
                message = f"nothing listens where the engine was: {type(error).__name__}"
                raise ApiError(502, "engine_unreachable", message, headers=headers) from error
            except TimeoutError as error:
                raise ApiError(504, "engine_timeout", "the engine did not answer in time", headers=reached) from error
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                self.reconciler.health.suspect()
                message = f"the engine does not answer: {type(error).__name__}"
                raise ApiError(502, "engine_unreachable", message, headers=reached) from error

    async def _begun(self, upstream: aiohttp.ClientResponse, reached: Mapping[str, str]) -> bytes:
        """The beginning of an answer. Raises ApiError where a stream's first event says that there is none.

        Until then a dead engine can still be said in a status, too.
        """
        if not is_stream(upstream):
            return await first_piece(upstream)
        begun, event = await first_event(upstream)
        if (error := self.reconciler.engine.error_in(event)) is None:
            return begun
        again = RETRY_LATER if error.status == 429 else {}
        raise ApiError(error.status, "engine_refused", error.message, headers={**reached, **again})

    def _lost(self, name: str) -> ApiError:
        """The engine says it has no such adapter: it was started anew, a moment ago, and has done nothing for it."""
        self.reconciler.health.suspect()
        return ApiError(421, "adapter_lost", f"the engine has lost {name}", param="model")

    def _served(self, name: str | None) -> LocalAdapter:
        """The adapter, where it may be answered for. Raises ApiError with what this replica knows of it."""
        reconciler = self.reconciler
        local = reconciler.adapters.by_name.get(name) if name else None
        if local is None:
            raise ApiError(421, "adapter_unknown", f"{name} is not in this replica's set", param="model")
        if (sets := reconciler.engine_sets) is not None and sets.restarting:
            message = "this replica's engine is being restarted with other adapters"
            raise ApiError(421, "engine_restarting", message, param="model")
        if not reconciler.health.state.up:
            raise ApiError(503, "engine_down", f"the engine is down: {reconciler.health.state.message}")
        if not local.served(reconciler.verification):
            message = f"{name} is not proved on this replica: {local.verdict} ({local.reason}) {local.message}"
            raise ApiError(421, "adapter_not_proved", message.strip(), param="model")
        return local


def _ignore() -> None:
    return


async def _pass_on(
    request: web.Request,
    upstream: aiohttp.ClientResponse,
    piece: bytes,
    more: Mapping[str, str],
    progressed: Callable[[], None],
) -> web.StreamResponse:
    """The engine's answer, whole, or from its first piece on as it comes; `progressed` is called for each."""
    headers = answer_headers(upstream.headers, more)
    progressed()
    if not is_stream(upstream):
        return web.Response(status=upstream.status, body=piece, headers=headers)
    response = web.StreamResponse(status=upstream.status, headers=headers)
    try:
        await response.prepare(request)
        while piece:
            await response.write(piece)
            piece = await upstream.content.readany()
            progressed()
        await response.write_eof()
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, TimeoutError):
        cut(request)
    return response
