"""kopf handlers: they hand events over and decide nothing."""

from typing import Any

import kopf

from wardrobe.api import adapter, adapterdeployment, basemodel, finetunejob
from wardrobe.api.meta import GROUP, VERSION
from wardrobe.wakeups import Wakeups

KINDS = {
    basemodel.PLURAL: basemodel.KIND,
    finetunejob.PLURAL: finetunejob.KIND,
    adapter.PLURAL: adapter.KIND,
    adapterdeployment.PLURAL: adapterdeployment.KIND,
}
WATCHED = len(KINDS) + 2
"""Resources that are watched: our kinds, Jobs and pods."""


def register(registry: kopf.OperatorRegistry, wakeups: Wakeups) -> None:
    """Have kopf watch our kinds and their children. Only `on.event`: no finalizers, no annotations, no state."""
    for plural, kind in KINDS.items():
        _watch_kind(registry, wakeups, plural, kind)

    @kopf.on.event("batch", "v1", "jobs", registry=registry)
    async def job_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002  kopf's name
        wakeups.child_event(type, dict(body))

    @kopf.on.event("v1", "pods", registry=registry)
    async def pod_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002  kopf's name
        wakeups.child_event(type, dict(body))


def _watch_kind(registry: kopf.OperatorRegistry, wakeups: Wakeups, plural: str, kind: str) -> None:
    @kopf.on.event(GROUP, VERSION, plural, registry=registry)
    async def resource_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002  kopf's name
        wakeups.resource_event(kind, type, dict(body))
