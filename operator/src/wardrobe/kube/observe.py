"""What the decisions need to know, read live: never from an event or a cache."""

import asyncio

from wardrobe.api import adapter, adapterdeployment, basemodel, children
from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import Key, Manifest
from wardrobe.plan import adapter as adapter_plan
from wardrobe.plan import basemodel as basemodel_plan
from wardrobe.plan import finetunejob as run_plan
from wardrobe.plan import tasks
from wardrobe.plan.finetunejob import Existing, Tasks
from wardrobe.plan.lines import Line
from wardrobe.plan.needs import Missing, Need
from wardrobe.resources.inspect_job import run_name
from wardrobe.resources.line import line_name, read_line
from wardrobe.resources.routes import read_routes, routes_owner

from .client import Kube


async def for_base(kube: Kube, base: BaseModelResource) -> basemodel_plan.Seen:
    """A BaseModel's Job and what it would mount."""
    jobs, pods = await _children(kube, base.metadata.namespace, run_name(base))
    inspect = tasks.view("inspect", jobs, pods)
    needs = basemodel_plan.needs(base, inspect)
    return basemodel_plan.Seen(inspect, await missing(kube, base.metadata.namespace, needs))


async def for_run(kube: Kube, run: FineTuneJobResource) -> run_plan.Seen:
    """A run's base and Jobs; what the next pod would mount; and the line where a number is wanted."""
    namespace = run.metadata.namespace
    jobs, pods = await _children(kube, namespace, run.run)
    seen = Tasks(*(tasks.view(task, jobs, pods) for task in ("check", "train", "assess")))
    wanted = run_plan.wants_base(seen)
    base = await base_model(kube, namespace, run.spec.base_model.name) if wanted else None
    lacking = await missing(kube, namespace, run_plan.needs(run, base, seen))
    if not run_plan.wants_number(seen):
        return run_plan.Seen(base, seen, lacking)
    line = await the_line(kube, namespace, run.spec.output.adapter)
    return run_plan.Seen(base, seen, lacking, line, await _versions(kube, namespace, line.name))


async def for_adapter(kube: Kube, wanted: AdapterResource) -> adapter_plan.Seen:
    """An Adapter's base, and all deployments with their routes: as many requests, however many there are."""
    namespace = wanted.metadata.namespace
    selector = f"{children.OWNER_KIND_LABEL}={adapterdeployment.KIND}"
    base, deployments, config_maps = await asyncio.gather(
        base_model(kube, namespace, wanted.spec.base_model.name),
        kube.list(adapterdeployment.KIND, namespace),
        kube.list("ConfigMap", namespace, selector),
    )
    routes = {routes_owner(found): found for found in config_maps}
    return adapter_plan.Seen(base, [_user(found, routes.get(found["metadata"]["uid"])) for found in deployments])


def _user(manifest: Manifest, routes: Manifest | None) -> adapter_plan.User:
    deployment = AdapterDeploymentResource.parse(manifest)
    named = {department.adapter for department in deployment.spec.departments.values()}
    in_force = read_routes(routes)
    return adapter_plan.User(
        deployment.metadata.name, frozenset(named | (in_force.routed_adapters if in_force else set()))
    )


async def base_model(kube: Kube, namespace: str, name: str) -> BaseModelResource | None:
    """The BaseModel of that name."""
    manifest = await kube.get(Key(basemodel.KIND, namespace, name))
    return BaseModelResource.parse(manifest) if manifest else None


async def the_line(kube: Kube, namespace: str, line: str) -> Line:
    """The line's record, or the beginning of one."""
    return read_line(line, await kube.get(Key("ConfigMap", namespace, line_name(line))))


async def _children(kube: Kube, namespace: str, run: str) -> tuple[list[Manifest], list[Manifest]]:
    """A run's Jobs, and its pods while any of them may know what no Job says yet."""
    selector = f"{children.RUN_LABEL}={run}"
    jobs = await kube.list("Job", namespace, selector)
    return jobs, await kube.list("Pod", namespace, selector) if tasks.unrecorded(jobs) else []


async def _versions(kube: Kube, namespace: str, line: str) -> tuple[Existing, ...]:
    """All Adapters of the line, imports without our labels included."""
    found = [manifest for manifest in await kube.list(adapter.KIND, namespace) if manifest["spec"]["line"] == line]
    return tuple(
        Existing(
            name=manifest["metadata"]["name"],
            version=manifest["spec"]["version"],
            run_uid=manifest["metadata"].get("labels", {}).get(children.RUN_UID_LABEL),
        )
        for manifest in found
    )


async def missing(kube: Kube, namespace: str, needs: list[Need]) -> Missing | None:
    """The first need that is not met."""
    for need in needs:
        found = await kube.get(need.object(namespace))
        if found is None or (need.key and need.key not in found.get("data", {}) | found.get("binaryData", {})):
            return need.missing(namespace)
    return None
