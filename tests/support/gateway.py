"""Engine pods and routers inside the test's own process, on ports of their own."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import EngineType, Precision
from wardrobe_contracts.routes import Authentication, Route, RoutedAdapter, RoutedBase, Routes, Verification
from wardrobe_contracts.state import AdapterState, Verdict
from wardrobe_gateway.agent.patience import Patience
from wardrobe_gateway.agent.reconciler import Reconciler
from wardrobe_gateway.agent.server import Agent
from wardrobe_gateway.agent.settings import Settings
from wardrobe_gateway.bodies import BODY_SECONDS
from wardrobe_gateway.engines import LoadsAtRunTime, loads_at_run_time
from wardrobe_gateway.engines.dialects import DIALECTS
from wardrobe_gateway.engines.http import EngineHttp
from wardrobe_gateway.forwarding import session
from wardrobe_gateway.process.connection import Deadlines
from wardrobe_gateway.process.drain import Drain
from wardrobe_gateway.process.listening import Listener
from wardrobe_gateway.process.operations import Operations
from wardrobe_gateway.process.source import Address
from wardrobe_gateway.router.forward import WAITED_SECONDS
from wardrobe_gateway.router.server import Router

from .artifacts import BASE
from .fake_engine import FakeEngine
from .waiting import HANG

T = TypeVar("T")

DEPLOYMENT = "tantanila"
WITHIN = HANG
PATIENCE = Patience()
"""An agent's, as it is."""
DEADLINES = Deadlines()
"""Of connections, as they are."""


def routes(
    adapters: list[RoutedAdapter],
    live: Mapping[str, str | None],
    *,
    generation: int = 1,
    authentication: Authentication = Authentication.API_KEY,
    verification: Verification = Verification.ENFORCE,
) -> Routes:
    """Routes of the test deployment."""
    return Routes(
        deployment=DEPLOYMENT,
        generation=generation,
        base=RoutedBase(name="base", digest=BASE),
        departments={name: Route(engine_name=adapter) for name, adapter in live.items()},
        adapters=adapters,
        authentication=authentication,
        verification=verification,
    )


def text(given: Routes) -> str:
    """As in the ConfigMap."""
    return given.model_dump_json(by_alias=True)


async def until(check: Callable[[], T | None], *, what: str | Callable[[], object] = "", within: float = WITHIN) -> T:
    """The first true value of `check`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not (value := check()):
        if loop.time() > deadline:
            raise AssertionError(f"not within {within:g} s: {what() if callable(what) else what}")
        await asyncio.sleep(0.005)
    return value


class Server:
    """An application on a port of 127.0.0.1 that can go away and come back."""

    def __init__(self, app: Callable[[], web.Application], deadlines: Deadlines = DEADLINES) -> None:
        self.port = 0
        self._app = app
        self._deadlines = deadlines
        self.listener: Listener | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def start(self) -> None:
        """Listen, on the same port as before where there was one."""
        self.listener = Listener(self._app(), self.port, self._deadlines, host="127.0.0.1")
        await self.listener.start()
        self.port = self.listener.port

    async def stop(self) -> None:
        """Go away at once: connections break."""
        if self.listener is not None:
            self.listener.connections.abort()
            await self.listener.close()
            self.listener = None


class Pod:
    """An engine pod: the test engine, and a real agent before it."""

    def __init__(
        self,
        store: Path,
        cache: Path,
        connection: aiohttp.ClientSession,
        *,
        engine_url: str,
        engine: EngineType,
        variant: Variant,
        precision: Precision,
        patience: Patience,
    ) -> None:
        self.engine = FakeEngine()
        self.engine_server = Server(self.engine.app)
        self._engine_url = engine_url
        self._engine_type = engine
        self.drain = Drain()
        self.store = store
        self.cache = cache
        self.control = cache.with_name(f"{cache.name}-control")
        self._settings = Settings(DEPLOYMENT, store, cache, variant, precision, control=self.control, patience=patience)
        self._connection = connection
        self.server = Server(self._app)
        self.ops = Server(self._ops_app)
        self._tasks: list[asyncio.Task[None]] = []

    def _app(self) -> web.Application:
        return self.agent.app()

    def _ops_app(self) -> web.Application:
        return Operations(self.agent).app()

    @property
    def address(self) -> Address:
        return Address(self.server.address, self.ops.address)

    async def start(self) -> None:
        if not self._engine_url:
            await self.engine_server.start()
        await self.start_agent()

    async def start_agent(self, **changed: Any) -> None:
        """A new agent process, as far as it goes inside this one; it may have other settings than the one before."""
        self._settings = replace(self._settings, **changed)
        self.cache.mkdir(parents=True, exist_ok=True)
        engine_url = self._engine_url or self.engine_server.url
        http = EngineHttp(self._connection, engine_url, check_seconds=self._settings.patience.check)
        self.reconciler = Reconciler(DIALECTS[self._engine_type](http), self._settings, self.drain)
        self.agent = Agent(self.reconciler, self._connection, engine_url, self.drain)
        self._tasks = [asyncio.create_task(self.reconciler.watch_engine()), asyncio.create_task(self.reconciler.work())]
        await self.server.start()
        await self.ops.start()

    @property
    def run_time_engine(self) -> LoadsAtRunTime:
        """What the agent asks of an engine that takes adapters while it runs."""
        engine = self.reconciler.engine
        assert loads_at_run_time(engine)
        return engine

    async def stop_agent(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.server.stop()
        await self.ops.stop()
        failed = [error for error in ended if not isinstance(error, asyncio.CancelledError)]
        assert not failed, failed

    async def stop(self) -> None:
        await self.stop_agent()
        await self.engine_server.stop()

    def apply(self, given: Routes) -> None:
        """As when the watch delivers them."""
        self.agent.in_force.take(text(given))

    def adapter(self, name: str) -> AdapterState | None:
        return self.agent.state().adapters.get(name)

    async def judged(self, name: str, verdict: Verdict, *, within: float = WITHIN) -> AdapterState:
        """Wait for a verdict."""

        def there() -> AdapterState | None:
            state = self.adapter(name)
            return state if state is not None and state.verdict is verdict else None

        return await until(there, what=lambda: f"{name} {verdict}: {self.adapter(name)}", within=within)

    async def engine_is_well(self, name: str) -> None:
        """Prove again now, and wait for success."""
        self.reconciler.adapters.change(name, due=0.0)
        await self.judged(name, Verdict.APPLIED)

    async def prove_again(self, name: str) -> None:
        """Make one more proof, whatever it says."""
        self.reconciler.adapters.change(name, due=0.0, urgent=True)
        self.reconciler.changed()
        await until(lambda: self.reconciler.adapters.by_name[name].due > 0, what=lambda: self.adapter(name))

    async def proved(self, *names: str, within: float = WITHIN) -> None:
        for name in names:
            await self.judged(name, Verdict.APPLIED, within=within)


@contextlib.asynccontextmanager
async def pod(
    store: Path,
    cache: Path,
    *,
    engine_url: str = "",
    engine: EngineType = EngineType.TRANSFORMERS,
    variant: Variant = Variant.NONE,
    precision: Precision = Precision.BFLOAT16,
    patience: Patience = PATIENCE,
    answer_seconds: float = 10,
) -> AsyncIterator[Pod]:
    """A running engine pod; with a URL, its engine is somebody else's."""
    async with session(answer_seconds) as connection:
        running = Pod(
            store,
            cache,
            connection,
            engine_url=engine_url,
            engine=engine,
            variant=variant,
            precision=precision,
            patience=patience,
        )
        await running.start()
        try:
            yield running
        finally:
            await running.stop()


class RouterProcess:
    """A router with its background work."""

    def __init__(self, router: Router, drain: Drain, deadlines: Deadlines) -> None:
        self.router = router
        self.drain = drain
        self.server = Server(router.app, deadlines)
        self.ops = Server(Operations(router).app, deadlines)

    def apply(self, given: Routes) -> None:
        self.router.in_force.take(text(given))

    async def sees(self, adapter: str, *addresses: str) -> None:
        """Wait until it knows who serves an adapter."""

        def seen() -> bool:
            self.router.backends.poll_soon()
            return {backend.address for backend in self.router.backends if adapter in backend.serves} == set(addresses)

        await until(seen, what=self.router.state)


@contextlib.asynccontextmanager
async def router(
    *pods: Pod,
    keys: dict[str, str] | None = None,
    memory: Path | None = None,
    answer_seconds: float = 10,
    body_seconds: float = BODY_SECONDS,
    waited_seconds: float = WAITED_SECONDS,
    deadlines: Deadlines = DEADLINES,
) -> AsyncIterator[RouterProcess]:
    """A running router before these pods."""
    drain = Drain()
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        connection = await stack.enter_async_context(session(answer_seconds))
        made = Router(
            connection,
            DEPLOYMENT,
            drain=drain,
            memory=memory or Path(folder),
            body_seconds=body_seconds,
            waited_seconds=waited_seconds,
        )
        made.take_keys(keys or {})
        made.restore()
        if pods:
            made.take_addresses(frozenset(one.address for one in pods))
        process = RouterProcess(made, drain, deadlines)
        polling = asyncio.create_task(made.backends.run())
        await process.server.start()
        await process.ops.start()
        try:
            yield process
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
            await process.server.stop()
            await process.ops.stop()
