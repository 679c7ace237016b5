"""Reconciling a namespace of a real apiserver from inside the test, one key at a time, without watches.

A `CountingKube` with its `reconciler` is an operator process: it remembers nothing of the one before, and can be
killed after its n-th write.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from kubernetes.aio import client, config

from wardrobe.api.meta import Key, Manifest
from wardrobe.deployment.podstates import PodStates
from wardrobe.kube.client import ConflictError, Kube, KubeClient, RefusedError, UnavailableError
from wardrobe.metrics import Metrics
from wardrobe.reconcile import Reconciler
from wardrobe.run.progress import ProgressPoller
from wardrobe.settings import Settings
from wardrobe_contracts.engines import EngineType

from .documented import require_documented
from .fake_cluster import KilledError
from .waiting import HANG

KINDS = ("BaseModel", "FineTuneJob", "Adapter")


class CountingKube(KubeClient):
    """The operator's own client; counts requests, and dies right after a chosen write."""

    def __init__(self, connection: client.ApiClient, dies_after: int | None = None) -> None:
        super().__init__(connection, Metrics())
        self.requests = 0
        self.written = 0
        self._dies_after = dies_after

    async def patch_status(self, key: Key, patch: Manifest, resource_version: str | None = None) -> None:
        require_documented(key.kind, patch)
        await super().patch_status(key, patch, resource_version)

    async def _request(self, verb: str, path: str, **arguments: Any) -> Manifest:
        self.requests += 1
        answer = await super()._request(verb, path, **arguments)
        if verb != "get":
            self.written += 1
            if self.written == self._dies_after:
                raise KilledError
        return answer


@contextlib.asynccontextmanager
async def connection(kubeconfig: Path) -> AsyncIterator[client.ApiClient]:
    """A connection of the operator's kind."""
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as made:
        yield made


def reconciler(kube: KubeClient, images: str = "none/{}", states: PodStates | None = None) -> Reconciler:
    """The operator's own. Progress is pulled in other tests: nothing runs the poller."""
    trainer, gateway, engine = (images.format(member) for member in ("trainer", "gateway", "engine"))
    now = kube.clock.timestamp
    poller = ProgressPoller(kube, time.monotonic, now)
    settings = Settings(trainer, gateway, dict.fromkeys(EngineType, engine))
    return Reconciler(kube, settings, poller, states or PodStates(), now)


@contextlib.asynccontextmanager
async def reconciling(kube: KubeClient, images: str = "none/{}") -> AsyncIterator[Reconciler]:
    """The same where pods are asked: its connections to them end with the block."""
    states = PodStates()
    try:
        yield reconciler(kube, images, states)
    finally:
        await states.close()


async def keys(kube: Kube, namespace: str) -> list[Key]:
    """All our resources in the namespace."""
    found = [(kind, manifest) for kind in KINDS for manifest in await kube.list(kind, namespace)]
    return [Key(kind, namespace, manifest["metadata"]["name"]) for kind, manifest in found]


async def work_until(kube: KubeClient, namespace: str, done: Callable[[], bool], *, within: float = HANG) -> None:
    """Reconcile everything again and again until `done`; raises KilledError where the kube is told to die."""
    async with asyncio.timeout(within):
        while not done():
            for key in await keys(kube, namespace):
                with contextlib.suppress(ConflictError, RefusedError, UnavailableError):
                    await reconciler(kube).reconcile(key)
            await asyncio.sleep(0.05)
