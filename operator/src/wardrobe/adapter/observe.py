"""An Adapter's base, who uses it, and the Job that verifies it. Nothing here lists what grows with the namespace."""

import asyncio

from wardrobe.api import adapter, adapterdeployment
from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.children import controlled_by
from wardrobe.api.meta import Key
from wardrobe.base.observe import base_model
from wardrobe.deployment.children.names import routes_name
from wardrobe.deployment.children.routes import read_routes
from wardrobe.kube.client import Kube
from wardrobe.plan.unreadable import parse
from wardrobe.stage.attempts import Owner
from wardrobe.stage.observe import attempts, missing

from .decide import Seen, needs
from .job import VERIFY, run_name


async def for_adapter(kube: Kube, wanted: AdapterResource, now: str) -> Seen:
    """An Adapter's base, which of the deployments that it names use it, and of one by hand what looks at its files."""
    named = wanted.status.used_by or []
    base, using = await asyncio.gather(
        base_model(kube, wanted.metadata.namespace, wanted.spec.base_model.name),
        asyncio.gather(*(_uses(kube, wanted, name) for name in named)),
    )
    users = frozenset(name for name, uses in zip(named, using, strict=True) if uses)
    if wanted.made_by_a_run:
        return Seen(base, users)
    owner = Owner(adapter.KIND, wanted.metadata, run_name(wanted), (VERIFY,))
    found, trouble = await attempts(kube, owner, now)
    lacking = trouble or await missing(kube, wanted.metadata.namespace, needs(base, found))
    return Seen(base, users, found, lacking)


async def _uses(kube: Kube, wanted: AdapterResource, name: str) -> bool:
    """Whether a deployment's spec names the Adapter, or its routes lead to it. One that cannot be read is believed."""
    namespace = wanted.metadata.namespace
    manifest = await kube.get(Key(adapterdeployment.KIND, namespace, name))
    if manifest is None:
        return False
    deployment = parse(AdapterDeploymentResource, manifest)
    if isinstance(deployment, str) or wanted.metadata.name in deployment.spec.adapters:
        return True
    routes = await kube.get(Key("ConfigMap", namespace, routes_name(name)))
    in_force = read_routes(routes) if routes and controlled_by(routes, deployment.metadata.uid) else None
    return in_force is not None and wanted.metadata.name in in_force.routed_adapters
