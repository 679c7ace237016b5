"""What the decision on an AdapterDeployment needs to know: its children, its pods, and what these say."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from wardrobe.api import adapter, adapterdeployment, children
from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.children import controlled_by
from wardrobe.api.meta import Key, Manifest
from wardrobe.base.observe import base_model
from wardrobe.deployment.children.applied import child_keys
from wardrobe.deployment.children.names import Part, routes_name
from wardrobe.deployment.children.revision import History, history, read_revision
from wardrobe.deployment.children.routes import read_routes
from wardrobe.kube.client import Kube
from wardrobe.manifests import pod_status
from wardrobe.plan.unreadable import parse
from wardrobe.stage.observe import missing
from wardrobe_contracts.routes import OPS_PORT, Routes
from wardrobe_contracts.state import AgentState, RouterState

from . import decide as plan
from . import pod_troubles, proofs
from .obstacle import makes_children
from .pod_troubles import Trouble
from .podstates import States
from .proofs import Replica, RouterPod
from .replacement import Unscheduled, lacks_room
from .seen import Seen

CHILD_KINDS = ("Deployment", "Service", "ServiceAccount", "Role", "RoleBinding", "ControllerRevision")


@dataclass(frozen=True)
class _Adapters:
    """Adapters by name. `unreadable` says what is wrong with those that are there and cannot be read."""

    found: dict[str, AdapterResource]
    unreadable: dict[str, str]

    def __or__(self, others: "_Adapters") -> "_Adapters":
        """Both together."""
        return _Adapters(self.found | others.found, self.unreadable | others.unreadable)


async def for_deployment(kube: Kube, states: States, deployment: AdapterDeploymentResource) -> Seen:
    """Its own objects by label in a first round; in a second the Adapters that these name, and what its pods say."""
    namespace, name = deployment.metadata.namespace, deployment.metadata.name
    selector = f"{children.OWNER_KIND_LABEL}={adapterdeployment.KIND},{children.OWNER_LABEL}={name}"
    base, config_map, labelled, replica_sets, owned = await asyncio.gather(
        base_model(kube, namespace, deployment.spec.base_model.name),
        kube.get(Key("ConfigMap", namespace, routes_name(name))),
        kube.list("Pod", namespace, selector),
        kube.list("ReplicaSet", namespace, selector),
        asyncio.gather(*(kube.list(kind, namespace, selector) for kind in CHILD_KINDS)),
    )
    found = {Key.of(child): child for kind in owned for child in kind}
    mine = {key: child for key, child in found.items() if controlled_by(child, deployment.metadata.uid)}
    if config_map is not None:
        found[Key.of(config_map)] = config_map
    routes = read_routes(config_map) if config_map and controlled_by(config_map, deployment.metadata.uid) else None
    generation = routes.generation if routes else None
    revisions = sorted(
        (read_revision(child) for key, child in mine.items() if key.kind == "ControllerRevision"),
        key=lambda revision: revision.number,
    )
    pods = _pods(labelled, replica_sets, [child for key, child in mine.items() if key.kind == "Deployment"])
    past = history(revisions)
    adapters, agents, routers = await asyncio.gather(
        _adapters(kube, deployment, routes, past),
        _agents(states, pods, generation),
        _routers(states, pods, generation),
    )
    seen = Seen(
        base=base,
        adapters=adapters.found,
        unreadable=adapters.unreadable,
        children=mine,
        taken={
            key: child
            for key, child in found.items()
            if _needed(key, deployment) and not controlled_by(child, deployment.metadata.uid)
        },
        revisions=revisions,
        history=past,
        routes=routes,
        replicas=[_replica(states, pod, state, routers) for pod, state in agents],
        routers=routers,
        troubles=_troubles(pods, mine),
        unscheduled=_unscheduled([pod for pod, _ in agents]),
        missing=None if pods else await missing(kube, namespace, plan.needs(base)),
        routes_data=config_map.get("data", {}) if config_map and routes else {},
    )
    return await _with_unlabelled(kube, deployment, seen) if makes_children(deployment, seen) else seen


def _pods(labelled: list[Manifest], replica_sets: list[Manifest], deployments: list[Manifest]) -> list[Manifest]:
    """Those pods that a ReplicaSet of the deployment's own Deployments made."""
    made = [found for found in replica_sets if _made_by(found, deployments)]
    return [pod for pod in labelled if _made_by(pod, made)]


def _made_by(child: Manifest, owners: list[Manifest]) -> bool:
    return any(controlled_by(child, owner["metadata"]["uid"]) for owner in owners)


async def _adapters(
    kube: Kube, deployment: AdapterDeploymentResource, routes: Routes | None, past: History | None
) -> _Adapters:
    """What is wanted, loaded, or may be kept loaded; older ones only where some of these are gone."""
    namespace, keep = deployment.metadata.namespace, deployment.spec.history.keep_loaded
    answered = [past.adapters.get(name, []) for name in deployment.spec.departments] if past else []
    loaded = {member.adapter for member in routes.adapters} if routes else set()
    nearest = {name for names in answered for name in names[: keep + 1]}
    found = await _named(kube, namespace, deployment.spec.adapters | loaded | nearest)
    older = {name for names in answered if set(names[: keep + 1]) - found.found.keys() for name in names[keep + 1 :]}
    return found | await _named(kube, namespace, older - found.found.keys())


async def _named(kube: Kube, namespace: str, names: Iterable[str]) -> _Adapters:
    """Those of the names that are there."""
    keys = [Key(adapter.KIND, namespace, name) for name in sorted(set(names))]
    seen = _Adapters({}, {})
    for key, manifest in zip(keys, await asyncio.gather(*map(kube.get, keys)), strict=True):
        found = parse(AdapterResource, manifest) if manifest else None
        if isinstance(found, str):
            seen.unreadable[key.name] = found
        elif found is not None:
            seen.found[key.name] = found
    return seen


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
    mine = {Key.of(found): found for found in there if controlled_by(found, deployment.metadata.uid)}
    others = {Key.of(found): found for found in there if Key.of(found) not in mine}
    return replace(seen, children=seen.children | mine, taken=seen.taken | others)


async def _agents(
    states: States, pods: list[Manifest], generation: int | None
) -> list[tuple[Manifest, AgentState | None]]:
    mine = _living(pods, Part.ENGINE)
    answers = await states.ask([pod_status.ip(pod) for pod in mine], OPS_PORT, AgentState, generation)
    return list(zip(mine, answers, strict=True))


def _replica(states: States, pod: Manifest, state: AgentState | None, routers: list[RouterPod]) -> Replica:
    address = pod_status.ip(pod)
    unreached = proofs.unreached(address, states.silent_seconds(address), routers)
    return Replica(pod["metadata"]["name"], pod_status.is_ready(pod), state, unreached)


async def _routers(states: States, pods: list[Manifest], generation: int | None) -> list[RouterPod]:
    mine = _living(pods, Part.ROUTER)
    answers = await states.ask([pod_status.ip(pod) for pod in mine], OPS_PORT, RouterState, generation)
    return [
        RouterPod(pod["metadata"]["name"], state, pod_status.is_ready(pod))
        for pod, state in zip(mine, answers, strict=True)
    ]


def _unscheduled(pods: list[Manifest]) -> list[Unscheduled]:
    """Those that wait for room, and for nothing else."""
    placed = [_placement(pod) for pod in pods if pod["spec"].get("nodeName")]
    return [
        Unscheduled(pod["metadata"]["name"], pod["metadata"]["creationTimestamp"])
        for pod in pods
        if (words := pod_status.unschedulable(pod)) is not None
        and lacks_room(words, placed_alike=_placement(pod) in placed)
    ]


def _placement(pod: Manifest) -> tuple[Manifest, list[Manifest]]:
    """What says which nodes it may have."""
    return pod["spec"].get("nodeSelector", {}), pod["spec"].get("tolerations", [])


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
        and not pod_status.has_ended(pod)
    ]
