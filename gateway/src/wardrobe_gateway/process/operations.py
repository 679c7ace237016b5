"""The port of operations: state, probes and metrics of a program."""

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from wardrobe_contracts.state import GENERATION_QUERY, HEALTH_PATH, METRICS_PATH, READY_PATH, STATE_PATH

if TYPE_CHECKING:
    from .program import Program


class Operations:
    """What kubelet, operator, routers and Prometheus ask, on a port of its own."""

    def __init__(self, program: "Program") -> None:
        self._program = program

    def app(self) -> web.Application:
        """All of it."""
        app = web.Application()
        app.router.add_get(HEALTH_PATH, self._health)
        app.router.add_get(READY_PATH, self._ready)
        app.router.add_get(STATE_PATH, self.state)
        app.router.add_get(METRICS_PATH, self._metrics)
        return app

    async def state(self, request: web.Request) -> web.Response:
        """How the program stands. Who asks may know newer routes than the program has, and says so."""
        self._program.in_force.hear(request.query.get(GENERATION_QUERY))
        return web.Response(body=self._program.state().model_dump_json(by_alias=True), content_type="application/json")

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _ready(self, _: web.Request) -> web.Response:
        ready = self._program.ready()
        return web.Response(text="ready" if ready else "not ready", status=200 if ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._program.metrics_page(), headers={"Content-Type": CONTENT_TYPE_LATEST})
