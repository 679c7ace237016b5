"""AdapterDeployment: its children as its spec says, and routes that move only to what is proved."""

from wardrobe.api import basemodel
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Key, Manifest
from wardrobe.api.reasons import ConditionType, Waiting
from wardrobe.api.sources import parse_claim
from wardrobe.resources.revision import next_revision, revision_manifest
from wardrobe.resources.routes import routes_manifest
from wardrobe.resources.serving import serving_manifests
from wardrobe.settings import Settings
from wardrobe_contracts import paths

from . import deployment_status
from .deployment_seen import Seen
from .drift import differs, stamped
from .needs import LOOK_AGAIN_SECONDS, Missing, Need
from .plan import Apply, Create, Delete, Plan, Write
from .rollout import Ground, Rollout, rollout

APPLYING_SECONDS = 0.15
"""While a router that answers is behind: a rollback is waited for."""
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
    blocked = _blocked(deployment, seen)
    if blocked is not None:
        status = deployment_status.blocked(deployment, blocked, seen, now)
        return Plan(status=status, requeue_after=LOOK_AGAIN_SECONDS, waits_on=_waits_on(deployment))
    base = seen.base
    if base is None or base.status.digest is None:
        raise ValueError("a deployment that is not blocked has a base with a digest")
    going = rollout(_ground(deployment, base.status.digest, seen), _next_generation(deployment, seen))
    return Plan(
        status=deployment_status.status(deployment, going, seen, now),
        writes=(
            *_history(deployment, going, seen),
            *_routes(deployment, going, seen),
            *_children(deployment, base, seen, settings),
            *_forgotten(deployment, seen),
        ),
        requeue_after=_look_again(going, seen),
        waits_on=_waits_on(deployment),
    )


def _blocked(deployment: AdapterDeploymentResource, seen: Seen) -> Missing | None:
    """Why there can be no pods at all. What runs already goes on by itself."""
    name = deployment.spec.base_model.name
    if seen.base is None:
        message = f"spec.baseModel.name is {name!r}: no such BaseModel in this namespace. Create it"
        return Missing(Waiting.BASE_MODEL_NOT_FOUND, message)
    ready = seen.base.status.condition(ConditionType.READY)
    if ready is None or ready.status != "True":
        message = f"BaseModel {name} is not Ready; see `kubectl describe bm {name}`"
        return Missing(Waiting.BASE_MODEL_NOT_READY, message)
    return seen.missing


def _ground(deployment: AdapterDeploymentResource, digest: str, seen: Seen) -> Ground:
    return Ground(
        deployment=deployment.metadata.name,
        spec=deployment.spec,
        base_digest=digest,
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


def _children(
    deployment: AdapterDeploymentResource, base: BaseModelResource, seen: Seen, settings: Settings
) -> list[Write]:
    wanted = serving_manifests(deployment, base, settings)
    return [Apply(stamped(manifest)) for manifest in wanted if differs(manifest, seen.children.get(_key(manifest)))]


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


def _look_again(going: Rollout, seen: Seen) -> float:
    if any(router.state and router.state.generation != going.routes.generation for router in seen.routers):
        return APPLYING_SECONDS
    moving = any(found.reason in {Waiting.PROVING, Waiting.MARKING_IN_USE} for found in going.departments.values())
    waiting = not deployment_status.applied(going.routes, seen.routers)
    return PROVING_SECONDS if moving else LOOK_AGAIN_SECONDS if waiting else WATCHING_SECONDS


def _waits_on(deployment: AdapterDeploymentResource) -> frozenset[Key]:
    """The base. Adapters wake the deployments that name them by themselves, see `wakeups`."""
    return frozenset({Key(basemodel.KIND, deployment.metadata.namespace, deployment.spec.base_model.name)})


def _key(manifest: Manifest) -> Key:
    return Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
