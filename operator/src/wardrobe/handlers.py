"""Where events come from, and where they are handed over; nothing is decided here. kopf watches our own kinds."""

from collections.abc import Sequence
from typing import Any

import kopf

from wardrobe.api import adapterdeployment, children
from wardrobe.api.kinds import KINDS, Kind
from wardrobe.api.meta import GROUP, VERSION
from wardrobe.kube.client import KubeClient
from wardrobe.kube.watch import Watch
from wardrobe.wakeups import OWNERS, Wakeups

CHILDREN = ("Job", "Pod")
SERVING = ("Deployment", "Service", "ConfigMap")
"""What answers requests besides pods: whoever deletes or changes it has it mended at once."""
WATCHED = len(KINDS) + len(CHILDREN) + len(SERVING)
"""Kinds that are watched."""


def register(registry: kopf.OperatorRegistry, wakeups: Wakeups) -> None:
    """Have kopf watch our kinds. Only `on.event`: no finalizers, no annotations, no state."""
    for kind in KINDS.values():
        _watch_kind(registry, wakeups, kind)


def watches(kube: KubeClient, wakeups: Wakeups, namespaces: Sequence[str]) -> list[Watch]:
    """Those of children, in some namespaces or (none given) in all. By labels that the admission policies guard: nobody
    else's objects come in, however large and many."""
    ours = f"{children.OWNER_KIND_LABEL} in ({','.join(sorted(OWNERS))})"
    serving = f"{children.OWNER_KIND_LABEL}={adapterdeployment.KIND}"
    return [
        watch
        for namespace in namespaces or ("",)
        for watch in (
            *(Watch(kube, kind, namespace, ours, wakeups.child_event) for kind in CHILDREN),
            *(Watch(kube, kind, namespace, serving, wakeups.serving_event) for kind in SERVING),
        )
    ]


def _watch_kind(registry: kopf.OperatorRegistry, wakeups: Wakeups, kind: Kind) -> None:
    @kopf.on.event(GROUP, VERSION, kind.plural, registry=registry)
    async def resource_event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002  kopf's name
        wakeups.resource_event(kind.name, type, dict(body))
