"""The operator's process: kopf for the watches, workers for the work, a small HTTP server for metrics and liveness.

Whatever of these ends, the process ends: a half-dead operator is worse than a restarted one.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

import kopf
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from wardrobe.api.meta import GROUP
from wardrobe.deployment.lookout import Lookout
from wardrobe.deployment.podstates import PodStates
from wardrobe.kube.client import Kube, KubeClient, UnavailableError
from wardrobe.kube.connection import connect
from wardrobe.metrics import Metrics
from wardrobe.reconcile import Reconciler
from wardrobe.run import claims
from wardrobe.run.progress import ProgressPoller
from wardrobe.settings import Settings
from wardrobe.stateless import NoDiffBase, NoProgress
from wardrobe.wakeups import Wakeups
from wardrobe.worker import Worker
from wardrobe.workqueue import WorkQueue

from . import handlers, health

WORKERS = 8
LISTED_AT_ONCE = 100
"""Objects of one page of a listing, all kinds at the same time: about 80 kB each as Python holds them."""
OBJECT_KEPT_SECONDS = 0.5
"""kopf keeps each object, whole, for so long after its last event; after a listing of thousands that is all of them."""
ASK_AGAIN_SECONDS = 1.0
"""While the apiserver does not answer a new operator."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Process:
    """How this process runs, as opposed to what it builds (`Settings`)."""

    namespaces: tuple[str, ...]
    """Namespaces to watch; empty for all."""
    port: int


async def run(settings: Settings, process: Process) -> None:
    """Run until SIGTERM, or until a part dies, which raises."""
    metrics = Metrics()
    async with connect() as connection:
        await _run(settings, process, metrics, KubeClient(connection, metrics))


async def _run(settings: Settings, process: Process, metrics: Metrics, kube: KubeClient) -> None:
    queue = WorkQueue(time.monotonic)
    wakeups = Wakeups(queue)
    poller = ProgressPoller(kube, time.monotonic, kube.clock.timestamp)
    states = PodStates()
    lookout = Lookout(states, queue.add)
    reconciler = Reconciler(kube, settings, poller, states, kube.clock.timestamp)
    worker = Worker(queue, reconciler, wakeups, lookout, metrics)
    metrics.queue_depth.set_function(queue.depth)
    metrics.queue_age.set_function(queue.oldest_seconds)
    background = [
        *(asyncio.create_task(worker.run(), name=f"worker {number}") for number in range(WORKERS)),
        asyncio.create_task(poller.run(), name="progress poller"),
        asyncio.create_task(lookout.run(), name="lookout"),
        *(
            asyncio.create_task(watch.run(), name=f"{health.WATCHER_NAME}{watch.kind}@{watch.namespace}")
            for watch in handlers.watches(kube, wakeups, process.namespaces)
        ),
    ]
    watches = asyncio.create_task(_watch(kube, wakeups, process.namespaces), name="watches")
    server = await _serve(process.port, metrics, health.Liveness(queue, background, process.namespaces))
    try:
        ended, _ = await asyncio.wait([*background, watches], return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        await _end(server, [*background, watches])
        await states.close()


async def _claims(kube: Kube, namespaces: tuple[str, ...]) -> frozenset[str]:
    """As soon as there is an apiserver to ask."""
    while True:
        try:
            return await claims.standing(kube, namespaces)
        except UnavailableError as error:
            log.warning("trying again in %.0f s: %s", ASK_AGAIN_SECONDS, error)
            await asyncio.sleep(ASK_AGAIN_SECONDS)


async def _end(server: web.AppRunner, tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.cleanup()


async def _watch(kube: KubeClient, wakeups: Wakeups, namespaces: tuple[str, ...]) -> None:
    wakeups.claiming = await _claims(kube, namespaces)
    registry = kopf.OperatorRegistry()
    handlers.register(registry, wakeups)
    kopf.on.login(registry=registry)(_login)
    await kopf.operator(
        registry=registry,
        settings=_kopf_settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
    )


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """kopf's own connection, from the same place as ours."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def _kopf_settings() -> kopf.OperatorSettings:
    """Watches only: nothing is written by kopf, and a name of ours stands wherever it could."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.chunk_size = LISTED_AT_ONCE
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.queueing.idle_timeout = OBJECT_KEPT_SECONDS
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 10
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.diffbase_storage = NoDiffBase()
    return settings


async def _serve(port: int, metrics: Metrics, liveness: health.Liveness) -> web.AppRunner:
    async def show_metrics(_: web.Request) -> web.Response:
        body = generate_latest(metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def show_health(_: web.Request) -> web.Response:
        dead = liveness.dead()
        return web.json_response({"dead": dead}, status=503 if dead else 200)

    app = web.Application()
    app.add_routes([web.get("/metrics", show_metrics), web.get("/healthz", show_health)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    log.info("metrics and liveness on port %d", port)
    return runner
