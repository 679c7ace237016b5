"""What the decision on an AdapterDeployment needs to know: its children, its pods, and what these say."""

import asyncio
from dataclasses import replace

from wardrobe.api import adapter, adapterdeployment, children
from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Key, Manifest
from wardrobe.plan import adapterdeployment as plan
from wardrobe.plan import pod_troubles
from wardrobe.plan.deployment_seen import Seen
from wardrobe.plan.held import makes_children
from wardrobe.plan.pod_troubles import Trouble
from wardrobe.plan.proofs import Replica, RouterPod
from wardrobe.podstates import PodStates
from wardrobe.resources.revision import read_revision
from wardrobe.resources.routes import read_routes
from wardrobe.resources.serving import child_keys
from wardrobe.resources.serving_names import Part, routes_name
from wardrobe_contracts.routes import AGENT_PORT, ROUTER_PORT
from wardrobe_contracts.state import AgentState, RouterState

from . import observe
from .client import Kube

CHILD_KINDS = ("Deployment", "Service", "ServiceAccount", "Role", "RoleBinding", "ControllerRevision")


async def for_deployment(kube: Kube, states: PodStates, deployment: AdapterDeploymentResource) -> Seen:
    """Everything in one round: the number of requests does not depend on the number of departments."""
    namespace, name = deployment.metadata.namespace, deployment.metadata.name
    selector = f"{children.OWNER_KIND_LABEL}={adapterdeployment.KIND},{children.OWNER_LABEL}={name}"
    base, adapters, routes, pods, owned = await asyncio.gather(
        observe.base_model(kube, namespace, deployment.spec.base_model.name),
        kube.list(adapter.KIND, namespace),
        kube.get(Key("ConfigMap", namespace, routes_name(name))),
        kube.list("Pod", namespace, selector),
        asyncio.gather(*(kube.list(kind, namespace, selector) for kind in CHILD_KINDS)),
    )
    found = {_key(child): child for kind in owned for child in kind}
    mine = {key: child for key, child in found.items() if _owned(child, deployment)}
    if routes is not None:
        found[_key(routes)] = routes
    revisions = [read_revision(child) for key, child in mine.items() if key.kind == "ControllerRevision"]
    replicas, routers = await asyncio.gather(_replicas(states, pods), _routers(states, pods))
    seen = Seen(
        base=base,
        adapters={manifest["metadata"]["name"]: AdapterResource.parse(manifest) for manifest in adapters},
        children=mine,
        taken={
            key: child for key, child in found.items() if _needed(key, deployment) and not _owned(child, deployment)
        },
        revisions=sorted(revisions, key=lambda revision: revision.number),
        routes=read_routes(routes) if routes and _owned(routes, deployment) else None,
        replicas=replicas,
        routers=routers,
        troubles=_troubles(pods, mine),
        missing=None if pods else await observe.missing(kube, namespace, plan.needs(base)),
    )
    return await _with_unlabelled(kube, deployment, seen) if makes_children(deployment, seen) else seen


def _needed(key: Key, deployment: AdapterDeploymentResource) -> bool:
    """Whether the deployment makes, or will make, an object of that name. Labels alone are copied easily."""
    name = deployment.metadata.name
    if key.kind == "ControllerRevision":
        return key.name.removeprefix(f"{name}-").isdigit()
    return key in child_keys(deployment) or key == Key("ConfigMap", key.namespace, routes_name(name))


async def _with_unlabelled(kube: Kube, deployment: AdapterDeploymentResource, seen: Seen) -> Seen:
    """What has a child's name and not its labels: looked up by name, where a child is about to be made."""
    absent = [key for key in child_keys(deployment) if key not in seen.children and key not in seen.taken]
    there = [found for found in await asyncio.gather(*(kube.get(key) for key in absent)) if found is not None]
    mine = {_key(found): found for found in there if _owned(found, deployment)}
    others = {_key(found): found for found in there if not _owned(found, deployment)}
    return replace(seen, children=seen.children | mine, taken=seen.taken | others)


async def _replicas(states: PodStates, pods: list[Manifest]) -> list[Replica]:
    mine = _living(pods, Part.ENGINE)
    answers = await states.ask([_address(pod) for pod in mine], AGENT_PORT, AgentState)
    return [
        Replica(pod["metadata"]["name"], pod_troubles.is_ready(pod), state)
        for pod, state in zip(mine, answers, strict=True)
    ]


async def _routers(states: PodStates, pods: list[Manifest]) -> list[RouterPod]:
    mine = _living(pods, Part.ROUTER)
    answers = await states.ask([_address(pod) for pod in mine], ROUTER_PORT, RouterState)
    return [RouterPod(pod["metadata"]["name"], state) for pod, state in zip(mine, answers, strict=True)]


def _troubles(pods: list[Manifest], mine: dict[Key, Manifest]) -> list[Trouble]:
    living = [pod for part in Part for pod in _living(pods, part)]
    refused = (pod_troubles.of_deployment(child) for key, child in mine.items() if key.kind == "Deployment")
    return [found for found in (*map(pod_troubles.of_pod, living), *refused) if found is not None]


def _living(pods: list[Manifest], part: Part) -> list[Manifest]:
    """Pods of a part that are not on their way out."""
    return [
        pod
        for pod in pods
        if pod["metadata"]["labels"].get(children.PART_LABEL) == part
        and not pod["metadata"].get("deletionTimestamp")
        and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
    ]


def _owned(child: Manifest, deployment: AdapterDeploymentResource) -> bool:
    """Whether the child is this deployment's, and not left by one of its name that was deleted."""
    references = child["metadata"].get("ownerReferences", [])
    return any(reference["uid"] == deployment.metadata.uid for reference in references)


def _key(found: Manifest) -> Key:
    return Key(found["kind"], found["metadata"]["namespace"], found["metadata"]["name"])


def _address(pod: Manifest) -> str | None:
    address: str | None = pod.get("status", {}).get("podIP")
    return address
