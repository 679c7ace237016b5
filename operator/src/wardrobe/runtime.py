"""The operator's process: kopf for the watches, workers for the work, a small HTTP server for metrics and liveness.

Whatever of these ends, the process ends: a half-dead operator is worse than a restarted one.
"""

import asyncio
import datetime
import logging
import time
from dataclasses import dataclass
from typing import Any

import kopf
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from wardrobe import handlers, health
from wardrobe.api import children
from wardrobe.api.meta import GROUP
from wardrobe.kube.client import Kube
from wardrobe.kube.connection import connect
from wardrobe.metrics import Metrics
from wardrobe.podstates import PodStates
from wardrobe.progress import ProgressPoller
from wardrobe.reconcile import Reconciler
from wardrobe.settings import Settings
from wardrobe.wakeups import Wakeups
from wardrobe.worker import Worker
from wardrobe.workqueue import WorkQueue

WORKERS = 8

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
        await _run(settings, process, metrics, Kube(connection, metrics))


async def _run(settings: Settings, process: Process, metrics: Metrics, kube: Kube) -> None:
    queue = WorkQueue(time.monotonic)
    wakeups = Wakeups(queue)
    poller = ProgressPoller(kube, time.monotonic, timestamp)
    states = PodStates()
    worker = Worker(queue, Reconciler(kube, settings, poller, states, timestamp), wakeups, metrics)
    metrics.queue_depth.set_function(queue.depth)
    metrics.queue_age.set_function(queue.oldest_seconds)
    background = [
        *(asyncio.create_task(worker.run(), name=f"worker {number}") for number in range(WORKERS)),
        asyncio.create_task(poller.run(), name="progress poller"),
    ]
    watches = asyncio.create_task(_watch(wakeups, process.namespaces), name="watches")
    server = await _serve(process.port, metrics, health.Liveness(queue, background, process.namespaces))
    try:
        ended, _ = await asyncio.wait([*background, watches], return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        await _end(server, [*background, watches])
        await states.close()


async def _end(server: web.AppRunner, tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.cleanup()


async def _watch(wakeups: Wakeups, namespaces: tuple[str, ...]) -> None:
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
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.label_selectors["batch/v1", "jobs"] = f"{children.MANAGED_BY_LABEL}={children.MANAGED_BY}"
    settings.watching.label_selectors["v1", "pods"] = f"{children.MANAGED_BY_LABEL}={children.MANAGED_BY}"
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 10
    settings.persistence.finalizer = f"{GROUP}/finalizer"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, key="last", v1=False)
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


def timestamp() -> str:
    """Now, as the API writes times."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
