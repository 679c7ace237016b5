"""AdapterDeployment: its children as its spec says, and routes that move only to what is proved."""

from collections.abc import Hashable

from wardrobe.api import adapter
from wardrobe.api.adapterdeployment import AdapterDeploymentResource, AdapterDeploymentStatus
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Key, Manifest
from wardrobe.api.reasons import ConditionType, Waiting
from wardrobe.base.ready import ReadyBase, files_of, waits_on
from wardrobe.deployment.children.applied import access_and_services
from wardrobe.deployment.children.engine import engine_deployment
from wardrobe.deployment.children.names import Part, part_name
from wardrobe.deployment.children.pods import Replacing
from wardrobe.deployment.children.revision import next_revision, revision_manifest
from wardrobe.deployment.children.router import router_deployment
from wardrobe.deployment.children.routes import routes_manifest
from wardrobe.plan.conditions import seconds_between
from wardrobe.plan.drift import differs, stamped
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS, Need
from wardrobe.plan.plan import Plan
from wardrobe.settings import Settings
from wardrobe.writes import Apply, Create, Delete, MarkInUse, Write
from wardrobe_contracts import paths
from wardrobe_contracts.base import Digest
from wardrobe_contracts.digests import is_sampled
from wardrobe_contracts.engines import ENGINES, Loading
from wardrobe_contracts.routes import BaseShape

from . import status as deployment_status
from .obstacle import Obstacle, base_or_obstacle
from .permit import Postponed, Turn
from .pod_troubles import worst
from .replacement import Replacement, replacement, rolling
from .rollout import Inputs, Rollout, roll_out
from .seen import Seen

APPLYING_SECONDS = 0.15
"""While a router that answers is behind: a rollback is waited for."""
BEHIND_SHARE = 0.1
"""The same when it stays behind, as a share of the time since: it may be cut off from the apiserver for long."""
PROVING_SECONDS = 1.0
WATCHING_SECONDS = 1200.0
"""A deployment at rest. Watches tell what happens to it, `lookout` what its pods say; this is for what neither does,
such as a changed Role. A look is about 15 requests, which makes less than one a minute."""
KEPT_REVISIONS = 10


def needs(base: BaseModelResource | None) -> list[Need]:
    """Claims that engine pods mount; looked up before there are any."""
    if base is None:
        return []
    return [
        Need.claim("the namespace's store", paths.STORE_CLAIM, "Wardrobe keeps adapters in it"),
        files_of(base),
    ]


def decide(deployment: AdapterDeploymentResource, seen: Seen, settings: Settings, now: str) -> Plan:
    """What an AdapterDeployment asks for now."""
    base = base_or_obstacle(deployment, seen, settings)
    obstacle = base if isinstance(base, Obstacle) else None
    if seen.routes is not None:
        digest = seen.routes.base.digest
    elif isinstance(base, Obstacle):
        return _blocked(deployment, base, seen, now)
    else:
        digest = base.digest
    rollout = roll_out(_inputs(deployment, digest, obstacle, seen), _next_generation(deployment, seen))
    engine_on = None if isinstance(base, Obstacle) or _stays(deployment, base, rollout, seen) else base
    replaced = _replacement(deployment, seen, now, restarts=isinstance(rollout.turn, Turn))
    status = deployment_status.status(deployment, rollout, obstacle, seen, now, replaced=replaced.message)
    return Plan(
        status=status,
        writes=(
            *_marks(deployment, deployment.spec.adapters | rollout.routes.routed_adapters, seen),
            *_history(deployment, rollout, seen),
            *_routes(deployment, rollout, seen),
            *_children(_wanted(deployment, engine_on, settings, replaced.replacing), seen),
            *_forgotten(deployment, seen),
        ),
        requeue_after=min(
            _look_again(rollout, seen, status, now),
            obstacle.look_again if obstacle else WATCHING_SECONDS,
            replaced.look_again or WATCHING_SECONDS,
        ),
        waits_on=_waits_on(deployment, seen),
    )


def _blocked(deployment: AdapterDeploymentResource, obstacle: Obstacle, seen: Seen, now: str) -> Plan:
    """Before the first routes."""
    return Plan(
        status=deployment_status.blocked(deployment, obstacle, seen, now),
        writes=tuple(_marks(deployment, deployment.spec.adapters, seen)),
        requeue_after=obstacle.look_again,
        waits_on=_waits_on(deployment, seen),
    )


def _inputs(deployment: AdapterDeploymentResource, digest: Digest, obstacle: Obstacle | None, seen: Seen) -> Inputs:
    return Inputs(
        deployment=deployment.metadata.name,
        spec=deployment.spec,
        base_digest=digest,
        obstacle=obstacle.reason if obstacle else None,
        adapters=seen.adapters,
        history=seen.history,
        current=seen.routes,
        replicas=seen.replicas,
        unreadable=seen.unreadable,
        shape=_shape(seen),
        agents_look=ENGINES[deployment.spec.engine.effective_type].loading is Loading.AT_START,
        rolling=(made := seen.children.get(_engine_key(deployment))) is not None and rolling(made),
        gap_announced=any(
            found.state == Waiting.ONLY_ENGINE_RESTARTING for found in deployment.status.departments.values()
        ),
    )


def _shape(seen: Seen) -> BaseShape | None:
    if seen.base and (shape := seen.base.status.shape):
        return shape.sizes
    return seen.routes.base.shape if seen.routes else None


def _next_generation(deployment: AdapterDeploymentResource, seen: Seen) -> int:
    """Above every generation that anybody knows of, even where the ConfigMap was deleted by hand."""
    known = [
        seen.routes.generation if seen.routes else None,
        deployment.status.routes_generation,
        *(replica.state.generation for replica in seen.replicas if replica.state),
        *(router.state.generation for router in seen.routers if router.state),
    ]
    return max((generation for generation in known if generation is not None), default=0) + 1


def _stays(deployment: AdapterDeploymentResource, base: ReadyBase, rollout: Rollout, seen: Seen) -> bool:
    """Whether engine pods are left as they are.

    Those that would come could not answer what these do; or the base's fingerprint is of the older form, which is being
    replaced, and would be another pod for it.
    """
    stranding = bool(rollout.stranded) and _engine_key(deployment) in seen.children
    return stranding or not is_sampled(base.location.fingerprint)


def _replacement(deployment: AdapterDeploymentResource, seen: Seen, now: str, *, restarts: bool) -> Replacement:
    """What keeps pods from starting, and waits for a person, is said first; nothing is announced beside it."""
    trouble, reported = worst(seen.troubles), deployment.status.condition(ConditionType.PODS_STARTED)
    return replacement(
        seen.children.get(_engine_key(deployment)),
        seen.unscheduled,
        [replica.name for replica in seen.replicas],
        now,
        announced=deployment_status.hides_replacement(trouble)
        or (reported is not None and reported.reason == Waiting.REPLACING_IN_PLACE),
        restarts=restarts,
    )


def _engine_key(deployment: AdapterDeploymentResource) -> Key:
    return Key("Deployment", deployment.metadata.namespace, part_name(deployment.metadata.name, Part.ENGINE))


def _wanted(
    deployment: AdapterDeploymentResource, engine_on: ReadyBase | None, settings: Settings, how: Replacing
) -> list[Manifest]:
    """In the order in which they are applied. What is held back is engine pods: nothing else knows of the base."""
    engine = [engine_deployment(deployment, engine_on, settings, how)] if engine_on else []
    return [*access_and_services(deployment), *engine, router_deployment(deployment, settings)]


def _children(wanted: list[Manifest], seen: Seen) -> list[Write]:
    """What is absent or not as wanted. What was absent is not taken over, should somebody make it just now."""
    return [
        Apply(stamped(manifest), force=Key.of(manifest) in seen.children)
        for manifest in wanted
        if Key.of(manifest) not in seen.taken and differs(manifest, seen.children.get(Key.of(manifest)))
    ]


def _marks(deployment: AdapterDeploymentResource, used: frozenset[str], seen: Seen) -> list[Write]:
    """Adapters learn that they are in use before a route leads to them: from then on nobody can delete them."""
    found = (seen.adapters[name] for name in sorted(used) if name in seen.adapters)
    user = deployment.metadata.name
    return [
        MarkInUse(Key(adapter.KIND, used.metadata.namespace, used.metadata.name), user)
        for used in found
        if user not in (users := used.status.used_by or []) and len(users) < adapter.USERS_LIMIT
    ]


def _history(deployment: AdapterDeploymentResource, rollout: Rollout, seen: Seen) -> list[Write]:
    """What is routed next is recorded before it is routed."""
    routed = {name: found.routed for name, found in rollout.departments.items()}
    revision = next_revision(seen.history, routed)
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


def _routes(deployment: AdapterDeploymentResource, rollout: Rollout, seen: Seen) -> list[Write]:
    """One data for each format's readers: what one of them reads otherwise, or not yet, is written anew."""
    wanted = routes_manifest(deployment, rollout.routes)
    return [] if wanted["data"] == seen.routes_data else [Apply(wanted)]


def _look_again(rollout: Rollout, seen: Seen, status: AdapterDeploymentStatus, now: str) -> float:
    routes = rollout.routes
    if any(router.state and not routes.answered_as_in(router.state.generation) for router in seen.routers):
        return _routers_pace(status, now)
    turn = rollout.turn
    moving = (turn.soon if isinstance(turn, Postponed) else turn is not None) or any(
        found.reason in {Waiting.PROVING, Waiting.MARKING_IN_USE} for found in rollout.departments.values()
    )
    waiting = isinstance(turn, Postponed) or not deployment_status.applied(rollout.routes, seen.routers)
    return PROVING_SECONDS if moving else LOOK_AGAIN_SECONDS if waiting else WATCHING_SECONDS


def _routers_pace(status: AdapterDeploymentStatus, now: str) -> float:
    applied = next(found for found in status.conditions if found.type == ConditionType.ROUTES_APPLIED)
    behind = seconds_between(applied.last_transition_time, now)
    return min(max(APPLYING_SECONDS, BEHIND_SHARE * behind), LOOK_AGAIN_SECONDS)


def _waits_on(deployment: AdapterDeploymentResource, seen: Seen) -> dict[Key, Hashable]:
    """The base. Adapters wake the deployments that name them by themselves, see `wakeups`."""
    return waits_on(seen.base, deployment.spec.base_model.name, deployment.metadata.namespace)
