"""The engine pod's only listener: requests that name a served version go to the engine, all others are refused."""

import logging
import uuid
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from wardrobe_contracts.state import (
    DIGEST_HEADER,
    HEALTH_PATH,
    METRICS_PATH,
    READY_PATH,
    STATE_PATH,
    VERSION_HEADER,
    AgentState,
)

from .. import saved
from ..errors import Refusal
from ..forwarding import answer_headers, cut, first_piece, is_stream, json_body, request_headers
from ..lifecycle import Drain
from ..source import RejectedError, parse
from .book import Entry
from .keeper import Keeper
from .metrics import Metrics

MAX_BODY_BYTES = 8 * 1024 * 1024
"""Above the router's bound, which is the one that callers meet."""


MEMORY_FILE = "last.json"
"""In the cache: the last routes, for a start while the apiserver is away."""

log = logging.getLogger(__name__)


class Agent:
    """Answers for one keeper. `problem` says why newer routes are not applied."""

    def __init__(self, keeper: Keeper, session: aiohttp.ClientSession, engine_url: str, drain: Drain) -> None:
        self.keeper = keeper
        self.drain = drain
        self.problem = ""
        self.incarnation = str(uuid.uuid4())
        self._session = session
        self._engine_url = engine_url
        self._metrics = Metrics()
        self._memory = keeper.settings.cache / MEMORY_FILE

    def restore(self) -> None:
        """Begin with the routes that an earlier process of this pod kept."""
        kept = saved.load(self._memory)
        if kept.routes is not None:
            self.take_routes(kept.routes)

    def take_routes(self, text: str | None) -> None:
        """Work by these from now on; or say why not, and go on with the last ones."""
        try:
            self.keeper.apply(parse(text, self.keeper.settings.deployment))
        except RejectedError as error:
            self.problem = str(error)
            log.error("%s", error)
            return
        self.problem = ""
        saved.store(self._memory, saved.Saved(routes=text))

    def app(self) -> web.Application:
        """All routes."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get(HEALTH_PATH, self._health)
        app.router.add_get(READY_PATH, self._ready)
        app.router.add_get(STATE_PATH, self._state)
        app.router.add_get(METRICS_PATH, self._metrics_page)
        for path in sorted(self.keeper.engine.paths):
            app.router.add_post(path, self._answer)
        return app

    def state(self) -> AgentState:
        """What is said at `/state`."""
        keeper = self.keeper
        return AgentState(
            deployment=keeper.settings.deployment,
            generation=keeper.routes.generation if keeper.routes else None,
            incarnation=self.incarnation,
            ready=keeper.ready(draining=self.drain.draining),
            draining=self.drain.draining,
            engine=keeper.engine_state,
            versions={
                version: entry.state(keeper.verification, keeper.in_flight[version])
                for version, entry in keeper.book.entries.items()
            },
            problem=self.problem,
        )

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _ready(self, _: web.Request) -> web.Response:
        ready = self.keeper.ready(draining=self.drain.draining)
        return web.Response(text="ready" if ready else "not ready", status=200 if ready else 503)

    async def _state(self, _: web.Request) -> web.Response:
        return web.Response(body=self.state().model_dump_json(by_alias=True), content_type="application/json")

    async def _metrics_page(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.page(self.keeper), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        code = "0"
        try:
            with self.drain.request():
                response = await self._forward(request)
            code = str(response.status)
        except Refusal as refusal:
            code = str(refusal.status)
            response = refusal.response()
        finally:
            self._metrics.requests.labels(code).inc()
        if self.drain.draining and not response.prepared:
            response.force_close()
        return response

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        payload = await json_body(request)
        version = self.keeper.engine.version_of(request.path, payload)
        entry = self._served(version)
        headers = {VERSION_HEADER: entry.adapter.version, DIGEST_HEADER: entry.adapter.digest}
        with self.keeper.request(entry.adapter.version):
            try:
                async with self._session.post(
                    self._engine_url + request.path,
                    data=await request.read(),
                    headers=request_headers(request.headers),
                ) as upstream:
                    if upstream.status == 404:
                        raise self._lost(entry.adapter.version)
                    return await _pass_on(request, upstream, headers)
            except TimeoutError as error:
                raise Refusal(504, "engine_timeout", "the engine did not answer in time", headers=headers) from error
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                self.keeper.suspect_engine()
                message = f"the engine does not answer: {type(error).__name__}"
                raise Refusal(502, "engine_unreachable", message, headers=headers) from error

    def _lost(self, version: str) -> Refusal:
        """The engine says it has no such version: it was started anew, a moment ago."""
        self.keeper.suspect_engine()
        return Refusal(421, "version_lost", f"the engine has lost {version}", param="model")

    def _served(self, version: str | None) -> Entry:
        """The entry of a version that may be answered for. Raises Refusal with what this replica knows of it."""
        keeper = self.keeper
        entry = keeper.book.entries.get(version) if version else None
        if entry is None:
            raise Refusal(421, "version_unknown", f"{version} is not in this replica's set", param="model")
        if not keeper.engine_state.up:
            raise Refusal(503, "engine_down", f"the engine is down: {keeper.engine_state.message}")
        if not entry.served(keeper.verification):
            message = f"{version} is not proved on this replica: {entry.verdict} ({entry.reason}) {entry.message}"
            raise Refusal(421, "version_not_proved", message.strip(), param="model")
        return entry


async def _pass_on(
    request: web.Request, upstream: aiohttp.ClientResponse, more: Mapping[str, str]
) -> web.StreamResponse:
    """The engine's answer, whole, or piece by piece as it comes."""
    headers = answer_headers(upstream.headers, more)
    piece = await first_piece(upstream)  # until then a dead engine can still be said in a status
    if not is_stream(upstream):
        return web.Response(status=upstream.status, body=piece, headers=headers)
    response = web.StreamResponse(status=upstream.status, headers=headers)
    try:
        await response.prepare(request)
        while piece:
            await response.write(piece)
            piece = await upstream.content.readany()
        await response.write_eof()
    except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, TimeoutError):
        cut(request)
    return response
