"""AdapterDeployment: its children as its spec says, and routes that move only to what is proved."""

from wardrobe.api import basemodel
from wardrobe.api.adapterdeployment import AdapterDeploymentResource, AdapterDeploymentStatus
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Key, Manifest
from wardrobe.api.reasons import ConditionType, Waiting
from wardrobe.api.sources import parse_claim
from wardrobe.resources.engine_deployment import engine_deployment
from wardrobe.resources.revision import next_revision, revision_manifest
from wardrobe.resources.router_deployment import router_deployment
from wardrobe.resources.routes import routes_manifest
from wardrobe.resources.serving import ground_manifests
from wardrobe.resources.serving_names import Part, part_name
from wardrobe.settings import Settings
from wardrobe_contracts import paths
from wardrobe_contracts.base import Digest

from . import deployment_status
from .conditions import seconds_between
from .deployment_seen import Seen
from .drift import differs, stamped
from .held import Held, held
from .needs import LOOK_AGAIN_SECONDS, Need
from .plan import Apply, Create, Delete, Plan, Write
from .rollout import Ground, Rollout, rollout

APPLYING_SECONDS = 0.15
"""While a router that answers is behind: a rollback is waited for."""
BEHIND_SHARE = 0.1
"""The same when it stays behind, as a share of the time since: it may be cut off from the apiserver for long."""
PROVING_SECONDS = 1.0
WATCHING_SECONDS = 30.0
"""Proofs are made again by the agents; what they find then is read at this pace."""
KEPT_REVISIONS = 10


def needs(base: BaseModelResource | None) -> list[Need]:
    """Claims that engine pods mount; looked up before there are any."""
    if base is None:
        return []
    return [
        Need.claim("the namespace's store", paths.STORE_CLAIM, "Wardrobe keeps adapters in it"),
        Need.claim("the BaseModel's spec.source", parse_claim(base.spec.source).claim, "it holds the model's files"),
    ]


def decide(deployment: AdapterDeploymentResource, seen: Seen, settings: Settings, now: str) -> Plan:
    """What an AdapterDeployment asks for now."""
    hold = held(deployment, seen)
    if hold is not None and seen.routes is None:
        status = deployment_status.blocked(deployment, hold, seen, now)
        return Plan(status=status, requeue_after=hold.look_again, waits_on=_waits_on(deployment))
    going = rollout(_ground(deployment, hold, seen), _next_generation(deployment, seen))
    engines = hold is None and not _stranding(deployment, going, seen)
    status = deployment_status.status(deployment, going, hold, seen, now)
    return Plan(
        status=status,
        writes=(
            *_history(deployment, going, seen),
            *_routes(deployment, going, seen),
            *_children(_wanted(deployment, seen, settings, engines=engines), seen),
            *_forgotten(deployment, seen),
        ),
        requeue_after=min(_look_again(going, seen, status, now), hold.look_again if hold else WATCHING_SECONDS),
        waits_on=_waits_on(deployment),
    )


def _ground(deployment: AdapterDeploymentResource, hold: Held | None, seen: Seen) -> Ground:
    return Ground(
        deployment=deployment.metadata.name,
        spec=deployment.spec,
        base_digest=seen.routes.base.digest if seen.routes else _digest(_base(seen)),
        held=hold.reason if hold else None,
        adapters=seen.adapters,
        history=seen.revisions[-1] if seen.revisions else None,
        current=seen.routes,
        replicas=seen.replicas,
    )


def _next_generation(deployment: AdapterDeploymentResource, seen: Seen) -> int:
    """Above every generation that anybody knows of, even where the ConfigMap was deleted by hand."""
    known = [
        seen.routes.generation if seen.routes else None,
        deployment.status.routes_generation,
        *(replica.state.generation for replica in seen.replicas if replica.state),
        *(router.state.generation for router in seen.routers if router.state),
    ]
    return max((generation for generation in known if generation is not None), default=0) + 1


def _base(seen: Seen) -> BaseModelResource:
    if seen.base is None:
        raise ValueError("without a base a deployment is held")
    return seen.base


def _digest(base: BaseModelResource) -> Digest:
    if base.status.digest is None:
        raise ValueError("without a digest a deployment is held")
    return base.status.digest


def _stranding(deployment: AdapterDeploymentResource, going: Rollout, seen: Seen) -> bool:
    """Whether engine pods that run would give way to some that cannot answer what these do."""
    engine = Key("Deployment", deployment.metadata.namespace, part_name(deployment.metadata.name, Part.ENGINE))
    return bool(going.stranded) and engine in seen.children


def _wanted(deployment: AdapterDeploymentResource, seen: Seen, settings: Settings, *, engines: bool) -> list[Manifest]:
    """In the order in which they are applied. What is held back is engine pods: nothing else knows of the base."""
    engine = [engine_deployment(deployment, _base(seen), settings)] if engines else []
    return [*ground_manifests(deployment), *engine, router_deployment(deployment, settings)]


def _children(wanted: list[Manifest], seen: Seen) -> list[Write]:
    """What is absent or not as wanted. What was absent is not taken over, should somebody make it just now."""
    return [
        Apply(stamped(manifest), force=_key(manifest) in seen.children)
        for manifest in wanted
        if _key(manifest) not in seen.taken and differs(manifest, seen.children.get(_key(manifest)))
    ]


def _history(deployment: AdapterDeploymentResource, going: Rollout, seen: Seen) -> list[Write]:
    """What is routed next is recorded before it is routed."""
    routed = {name: found.routed for name, found in going.departments.items()}
    revision = next_revision(seen.revisions[-1] if seen.revisions else None, routed)
    if revision is None:
        return []
    return [Create(revision_manifest(deployment, revision))]


def _forgotten(deployment: AdapterDeploymentResource, seen: Seen) -> list[Write]:
    """The oldest records, beyond what is kept."""
    names = {f"{deployment.metadata.name}-{old.number}" for old in seen.revisions[:-KEPT_REVISIONS]}
    return [
        Delete(key, child["metadata"]["uid"])
        for key, child in seen.children.items()
        if key.kind == "ControllerRevision" and key.name in names
    ]


def _routes(deployment: AdapterDeploymentResource, going: Rollout, seen: Seen) -> list[Write]:
    return [] if going.routes == seen.routes else [Apply(routes_manifest(deployment, going.routes))]


def _look_again(going: Rollout, seen: Seen, status: AdapterDeploymentStatus, now: str) -> float:
    if any(router.state and router.state.generation != going.routes.generation for router in seen.routers):
        return _routers_pace(status, now)
    moving = any(found.reason in {Waiting.PROVING, Waiting.MARKING_IN_USE} for found in going.departments.values())
    waiting = not deployment_status.applied(going.routes, seen.routers)
    return PROVING_SECONDS if moving else LOOK_AGAIN_SECONDS if waiting else WATCHING_SECONDS


def _routers_pace(status: AdapterDeploymentStatus, now: str) -> float:
    applied = next(found for found in status.conditions if found.type == ConditionType.ROUTES_APPLIED)
    behind = seconds_between(applied.last_transition_time, now)
    return min(max(APPLYING_SECONDS, BEHIND_SHARE * behind), LOOK_AGAIN_SECONDS)


def _waits_on(deployment: AdapterDeploymentResource) -> frozenset[Key]:
    """The base. Adapters wake the deployments that name them by themselves, see `wakeups`."""
    return frozenset({Key(basemodel.KIND, deployment.metadata.namespace, deployment.spec.base_model.name)})


def _key(manifest: Manifest) -> Key:
    return Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
