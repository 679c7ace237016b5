"""The status of an AdapterDeployment: what is live, what is wanted, and what is wrong."""

from collections.abc import Callable, Sequence
from typing import Any

from wardrobe.api import children
from wardrobe.api.adapterdeployment import (
    AdapterDeploymentResource,
    AdapterDeploymentStatus,
    DepartmentStatus,
    NewAdapters,
)
from wardrobe.api.meta import Key
from wardrobe.api.reasons import ConditionType, Done, Failure, Waiting
from wardrobe.deployment.children.names import Part
from wardrobe.deployment.children.services import CLIENT_PORT
from wardrobe.plan.conditions import Fact, conditions, kstatus
from wardrobe_contracts.engines import ENGINES, Loading
from wardrobe_contracts.routes import Authentication, Routes

from . import pod_troubles, proofs
from .obstacle import Obstacle
from .pod_troubles import Trouble
from .proofs import Replica, RouterPod
from .rollout import Department, Rollout
from .seen import Seen

PARTS = (
    ConditionType.PODS_STARTED,
    ConditionType.ADAPTERS_PROVED,
    ConditionType.ROUTES_APPLIED,
    ConditionType.KEYS_LOADED,
)
"""What Ready consists of."""


def applied(routes: Routes, routers: Sequence[RouterPod]) -> bool:
    """Whether all routers that requests may come through, and at least one, work by these routes."""
    counted = [router for router in routers if router.counts]
    return bool(counted) and not _behind(routes, counted)


def _behind(routes: Routes, routers: Sequence[RouterPod]) -> list[str]:
    return [
        router.name
        for router in routers
        if router.counts and (router.state is None or not routes.answered_as_in(router.state.generation))
    ]


def status(
    deployment: AdapterDeploymentResource,
    rollout: Rollout,
    obstacle: Obstacle | None,
    seen: Seen,
    now: str,
    *,
    replaced: str = "",
) -> AdapterDeploymentStatus:
    """The whole status. `replaced` says how pods are replaced in their places, if they are."""
    parts = [
        _started(seen, replaced),
        _proved(deployment, rollout, obstacle),
        _applied(rollout.routes, seen),
        _keys(deployment, seen),
    ]
    top = _obstacle(obstacle) if obstacle else _top(parts)
    generation, warm = deployment.metadata.generation, _warm(rollout, seen)
    return AdapterDeploymentStatus(
        observed_generation=generation,
        conditions=conditions(deployment.status, [top, *parts, *kstatus(top)], generation, now),
        url=_url(deployment, seen),
        live=_live(rollout),
        warm=_warm_in_words(warm),
        new_adapters=_new_adapters(deployment),
        routes_generation=rollout.routes.generation,
        departments={name: _department(found, warm[name]) for name, found in rollout.departments.items()},
        **_counts(deployment, seen),
    )


def blocked(deployment: AdapterDeploymentResource, obstacle: Obstacle, seen: Seen, now: str) -> AdapterDeploymentStatus:
    """The status of a deployment that has no routes and cannot go on; what is known to be live stays said."""
    top = Fact(ConditionType.READY, obstacle.status, obstacle.reason, obstacle.message)
    others = [Fact(kind, "Unknown", obstacle.reason, obstacle.message) for kind in PARTS]
    generation = deployment.metadata.generation
    return deployment.status.model_copy(
        update={
            "observed_generation": generation,
            "conditions": conditions(deployment.status, [top, *others, *kstatus(top)], generation, now),
            **_counts(deployment, seen),
        }
    )


def _obstacle(obstacle: Obstacle) -> Fact:
    meanwhile = (
        "Until then no engine pod is made or changed and no adapter is loaded; what is loaded and proved goes on "
        "answering, and departments can be pointed at it"
    )
    return Fact(ConditionType.READY, obstacle.status, obstacle.reason, f"{obstacle.message}. {meanwhile}")


def _top(parts: list[Fact]) -> Fact:
    """Ready is the first of its parts that is false, as somebody has to mend it; else the first that is not true."""
    wrong = next((fact for status in ("False", "Unknown") for fact in parts if fact.status == status), None)
    if wrong is None:
        return Fact(ConditionType.READY, "True", Done.SERVING, "every department is answered as its spec says")
    return Fact(ConditionType.READY, wrong.status, wrong.reason, wrong.message)


def hides_replacement(trouble: Trouble | None) -> bool:
    """Whether a pod's trouble is said instead of that pods are replaced in their places. That a pod finds no node is
    what the latter mends, or what is said beside it."""
    return trouble is not None and trouble.reason is not Waiting.UNSCHEDULABLE


def _started(seen: Seen, replaced: str) -> Fact:
    trouble = pod_troubles.worst(seen.troubles)
    if replaced and not hides_replacement(trouble):
        words = f"{replaced}; {trouble.message}" if trouble else replaced
        return Fact(ConditionType.PODS_STARTED, "Unknown", Waiting.REPLACING_IN_PLACE, words)
    if trouble is None:
        return Fact(ConditionType.PODS_STARTED, "True", Done.STARTED, "nothing keeps a pod from starting")
    more = f" ({len(seen.troubles) - 1} more pods are in trouble)" if len(seen.troubles) > 1 else ""
    return Fact(ConditionType.PODS_STARTED, trouble.status, trouble.reason, f"{trouble.message}{more}")


def _proved(deployment: AdapterDeploymentResource, rollout: Rollout, obstacle: Obstacle | None) -> Fact:
    open_ones = {name: found for name, found in rollout.departments.items() if found.reason != Done.PROVED}
    if not open_ones:
        message = f"every adapter that answers was proved{_cold(deployment, rollout)}"
        return Fact(ConditionType.ADAPTERS_PROVED, "True", Done.PROVED, message)
    hopeful: set[Waiting | Failure | Done] = {
        *(Waiting.PROVING, Waiting.MARKING_IN_USE, Waiting.NO_REPLICA_READY),
        *(Waiting.ENGINE_RESTARTING, Waiting.ONLY_ENGINE_RESTARTING),
    }
    if obstacle and obstacle.status == "Unknown":
        hopeful.add(obstacle.reason)
    worst = next((found for found in open_ones.values() if found.reason not in hopeful), next(iter(open_ones.values())))
    message = "; ".join(found.message for found in open_ones.values())
    if rollout.stranded:
        variant, names = deployment.spec.quantization, ", ".join(sorted(rollout.stranded))
        message += f". Engine pods are not changed while {names} answers, which was not assessed on {variant} or does "
        message += "not fit the engine: first name an adapter that can be served before and after"
    return Fact(ConditionType.ADAPTERS_PROVED, "Unknown" if worst.reason in hopeful else "False", worst.reason, message)


def _cold(deployment: AdapterDeploymentResource, rollout: Rollout) -> str:
    if not rollout.cold:
        return ""
    names, bound = ", ".join(sorted(rollout.cold)), deployment.spec.engine.adapter_memory
    return f"; not kept warm, since spec.engine.adapterMemory is {bound}: {names}"


def _applied(routes: Routes, seen: Seen) -> Fact:
    if applied(routes, seen.routers):
        return Fact(ConditionType.ROUTES_APPLIED, "True", Done.APPLIED, _applied_by(routes, seen))
    behind = ", ".join(_behind(routes, seen.routers))
    message = f"routes {routes.generation} are not applied by {behind}" if behind else "no router is ready yet"
    return Fact(ConditionType.ROUTES_APPLIED, "Unknown", Waiting.ROUTERS_BEHIND, message)


def _applied_by(routes: Routes, seen: Seen) -> str:
    away = [router.name for router in seen.routers if not router.counts]
    words = f"all {len(seen.routers) - len(away)} routers work by routes {routes.generation}"
    return f"{words}; not ready and not asked: {', '.join(away)}" if away else words


def _keys(deployment: AdapterDeploymentResource, seen: Seen) -> Fact:
    kind = ConditionType.KEYS_LOADED
    if deployment.spec.authentication is Authentication.NONE:
        return Fact(kind, "True", Done.NOT_REQUIRED, "spec.authentication is None: no key is asked for")
    states = [router.state for router in seen.routers if router.state]
    if not states:
        return Fact(kind, "Unknown", Waiting.ROUTERS_BEHIND, "no router answers yet")
    if shared := sorted({name for state in states for name in state.duplicate_keys}):
        message = f"{', '.join(shared)} share a key, which opens none of them. Give each department keys of its own"
        return Fact(kind, "False", Waiting.KEYS_SHARED, message)
    if missing := sorted({name for state in states for name in state.missing_keys}):
        return Fact(kind, "False", Waiting.KEYS_MISSING, _missing_keys(deployment, missing))
    if weak := sorted({name for state in states for name in state.weak_keys}):
        message = (
            f"{', '.join(weak)}: a key in the Secret has fewer than 16 characters or others than visible ASCII, "
            "and opens nothing. Replace it with a random one"
        )
        return Fact(kind, "False", Waiting.KEYS_TOO_SHORT, message)
    return Fact(kind, "True", Done.KEYS_LOADED, "every department has a key")


def _missing_keys(deployment: AdapterDeploymentResource, missing: list[str]) -> str:
    secrets = {
        name: found.keys.secret_name for name, found in deployment.spec.departments.items() if found.keys is not None
    }
    words = [f"{name}: Secret {secrets.get(name, '?')!r} has no entry `keys`" for name in missing]
    return f"{'; '.join(words)}. Create it with one key per line; only these departments are refused until then"


def _url(deployment: AdapterDeploymentResource, seen: Seen) -> str | None:
    service = seen.children.get(Key("Service", deployment.metadata.namespace, deployment.metadata.name))
    address = service["spec"].get("clusterIP") if service else None
    if not address:
        return None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}" if CLIENT_PORT == 80 else f"http://{host}:{CLIENT_PORT}"


def _live(rollout: Rollout) -> str:
    return " ".join(f"{name}→{found.routed or '(none)'}" for name, found in rollout.departments.items())


def _warm(rollout: Rollout, seen: Seen) -> dict[str, list[str]]:
    """By department: what it could go to at once, beside what answers: by one replica where it has answered before."""
    names = {loaded.adapter: loaded.engine_name for loaded in rollout.routes.adapters}
    return {
        department: [
            name
            for name in dict.fromkeys([found.wanted, *found.previous])
            if name != found.routed and name in names and _at_once(name, found)(names[name], seen.replicas)
        ]
        for department, found in rollout.departments.items()
    }


def _at_once(name: str, found: Department) -> Callable[[str, Sequence[Replica]], bool]:
    """By what a department moves to an adapter, see `rollout`."""
    return proofs.served if name in found.previous else proofs.proved


def _warm_in_words(warm: dict[str, list[str]]) -> str:
    return " ".join(f"{department}→{','.join(names) or '(none)'}" for department, names in warm.items())


def _new_adapters(deployment: AdapterDeploymentResource) -> NewAdapters:
    loading = ENGINES[deployment.spec.engine.effective_type].loading
    return NewAdapters.RESTART_ENGINES if loading is Loading.AT_START else NewAdapters.LOAD_WHILE_SERVING


def _department(found: Department, warm: list[str]) -> DepartmentStatus:
    return DepartmentStatus(
        adapter=found.routed, wanted=found.wanted, previous=found.previous, warm=warm, state=found.reason.value
    )


def _counts(deployment: AdapterDeploymentResource, seen: Seen) -> dict[str, Any]:
    """What the scale subresource and the columns show."""
    return {
        "replicas": len(seen.replicas),
        "ready_replicas": sum(replica.ready for replica in seen.replicas),
        "selector": f"{children.OWNER_LABEL}={deployment.metadata.name},{children.PART_LABEL}={Part.ENGINE}",
    }
