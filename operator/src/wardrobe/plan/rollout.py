"""Which version answers for each department next: routes move only to what is proved on every ready replica."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.reasons import Done, Refused, Waiting
from wardrobe.resources.revision import Revision
from wardrobe_contracts.base import Digest
from wardrobe_contracts.routes import Route, RoutedAdapter, RoutedBase, Routes, version_name

from . import proofs
from .proofs import Replica


@dataclass(frozen=True)
class Department:
    """One department's standing. Names are of Adapters."""

    wanted: str
    routed: str | None
    previous: list[str]
    reason: Waiting | Refused | Done
    message: str


@dataclass(frozen=True)
class Rollout:
    """Where the deployment is going."""

    routes: Routes
    departments: dict[str, Department]
    stranded: frozenset[str] = frozenset()
    """Adapters that answer now and could not on engine pods of the variant that is asked for."""


@dataclass(frozen=True)
class Ground:
    """What a rollout stands on. `adapters` holds all of the namespace by name."""

    deployment: str
    spec: AdapterDeploymentSpec
    base_digest: Digest
    adapters: Mapping[str, AdapterResource]
    history: Revision | None
    current: Routes | None
    replicas: Sequence[Replica]
    held: Waiting | Refused | None = None
    """Why no version is loaded that is not loaded yet, if so."""

    def version(self, adapter: str) -> str:
        """What engines call an Adapter that is there, or is still routed."""
        if adapter in self.adapters:
            return version_name(adapter, self.adapters[adapter].spec.digest)
        loaded = self.loaded(adapter)
        if loaded is None:
            raise KeyError(f"Adapter {adapter} is neither there nor routed")
        return loaded.version

    def marked(self, adapter: str) -> bool:
        """Whether the Adapter is known to be in use here, so that nobody deletes it once it is routed."""
        return self.deployment in (self.adapters[adapter].status.used_by or [])

    def previous(self, department: str, routed: str | None) -> list[str]:
        """Adapters that answered before and are still usable, newest first, as many as are kept loaded."""
        past = self.history.versions.get(department, []) if self.history else []
        usable = [name for name in past if name != routed and refusal(self, name) is None]
        return usable[: self.spec.history.keep_loaded]

    def routed(self, department: str) -> str | None:
        """The Adapter that answers now, also where somebody deleted it; without routes, what history says last."""
        if self.current is None:
            past = self.history.versions.get(department, []) if self.history else []
            return next((name for name in past[:1] if refusal(self, name) is None), None)
        route = self.current.departments.get(department)
        names = {loaded.version: loaded.adapter for loaded in self.current.adapters}
        return names.get(route.version) if route and route.version else None

    def loaded(self, adapter: str) -> RoutedAdapter | None:
        """An Adapter as the routes in force have it: all that is needed to go on serving it."""
        found = self.current.adapters if self.current else []
        return next((loaded for loaded in found if loaded.adapter == adapter), None)


@dataclass(frozen=True)
class Refusal:
    """Why an Adapter cannot be loaded in this deployment."""

    reason: Waiting
    message: str


def refusal(ground: Ground, adapter: str) -> Refusal | None:
    """None where the Adapter exists, belongs to the base, and was assessed on the deployment's variant."""
    found = ground.adapters.get(adapter)
    if found is None:
        message = "no such Adapter in this namespace. Name one that `kubectl get adapters` lists, or create it"
        return Refusal(Waiting.ADAPTER_NOT_FOUND, message)
    if found.spec.base_model.digest != ground.base_digest:
        message = (
            f"Adapter {adapter} belongs to a base of digest {found.spec.base_model.digest}, and this deployment's is "
            f"{ground.base_digest}. Name a version that was trained on it"
        )
        return Refusal(Waiting.ADAPTER_NOT_READY, message)
    if not assessed(ground, adapter):
        known = ", ".join(evaluation.variant for evaluation in found.spec.evaluations) or "none"
        message = (
            f"Adapter {adapter} was not assessed on {ground.spec.quantization}, so its effect cannot be proved. "
            f"It has scores on: {known}. Set spec.quantization to one of these, or name another version"
        )
        return Refusal(Waiting.VARIANT_NOT_ASSESSED, message)
    return None


def rollout(ground: Ground, generation: int) -> Rollout:
    """The next routes and how each department stands. `generation` is that of a changed set of routes."""
    departments = {name: _department(ground, name) for name in sorted(ground.spec.departments)}
    routes = Routes(
        deployment=ground.deployment,
        generation=ground.current.generation if ground.current else generation,
        base=RoutedBase(name=ground.spec.base_model.name, digest=ground.base_digest),
        departments={
            name: Route(version=ground.version(found.routed) if found.routed else None)
            for name, found in departments.items()
        },
        adapters=_loaded(ground, departments),
        authentication=ground.spec.authentication,
        verification=ground.spec.verification,
    )
    changed = routes != ground.current
    routes = routes.model_copy(update={"generation": generation}) if changed else routes
    return Rollout(routes, departments, _stranded(ground, departments))


def _stranded(ground: Ground, departments: Mapping[str, Department]) -> frozenset[str]:
    """Routed Adapters without a record on the deployment's quantization: there they would be proved on no pod."""
    routed = {found.routed for found in departments.values() if found.routed in ground.adapters}
    return frozenset(name for name in routed if name and not assessed(ground, name))


def assessed(ground: Ground, adapter: str) -> bool:
    """Whether an Adapter that is there has scores on the deployment's quantization."""
    evaluations = ground.adapters[adapter].spec.evaluations
    return ground.spec.quantization in {found.variant for found in evaluations}


def _department(ground: Ground, name: str) -> Department:
    wanted = ground.spec.departments[name].adapter
    now = ground.routed(name)
    field = f"spec.departments.{name}.adapter is {wanted!r}"
    meanwhile = _meanwhile(now) if any(replica.ready for replica in ground.replicas) else ""
    if refused := refusal(ground, wanted):
        message = f"{field}: {refused.message}{meanwhile}"
        return Department(wanted, now, ground.previous(name, now), refused.reason, message)
    proved = proofs.proved(ground.version(wanted), ground.replicas)
    if now == wanted or (proved and ground.marked(wanted)):
        return _routed(ground, name, wanted)
    reason, message = _awaited(ground, name, field, proved=proved)
    return Department(wanted, now, ground.previous(name, now), reason, f"{message}{meanwhile}")


def _awaited(ground: Ground, name: str, field: str, *, proved: bool) -> tuple[Waiting | Refused, str]:
    """What a version that may be loaded waits for."""
    wanted = ground.spec.departments[name].adapter
    if ground.held and ground.loaded(wanted) is None:
        return ground.held, f"{field}: nothing new is loaded while the deployment is held back"
    if proved:
        message = f"{wanted} is proved, and answers as soon as its status.usedBy names {ground.deployment}"
        return Waiting.MARKING_IN_USE, f"{name}: {message}"
    if failed := proofs.failure(ground.version(wanted), ground.replicas):
        return Waiting.NOT_PROVED, f"{field}: {failed}"
    if not any(replica.ready for replica in ground.replicas):
        return Waiting.NO_REPLICA_READY, f"{name}: no engine pod is ready yet"
    return Waiting.PROVING, f"{name}: {wanted} is being loaded and proved"


def _routed(ground: Ground, name: str, wanted: str) -> Department:
    """The wanted version answers; but a replica may have come to doubt it since."""
    reason, message = _answered(ground, wanted)
    return Department(wanted, wanted, ground.previous(name, wanted), reason, f"{name}: {wanted} {message}")


def _answered(ground: Ground, adapter: str) -> tuple[Waiting | Done, str]:
    version = ground.version(adapter)
    if not any(replica.ready for replica in ground.replicas):
        return Waiting.NO_REPLICA_READY, "is routed, no engine pod is ready"
    if failed := proofs.failure(version, ground.replicas):
        return Waiting.NOT_PROVED, f"is routed, but {failed}"
    if not proofs.proved(version, ground.replicas):
        return Waiting.PROVING, "is routed and being proved again"
    return Done.PROVED, "answers"


def _meanwhile(now: str | None) -> str:
    return f"; {now} goes on answering" if now else "; nothing answers yet"


def _loaded(ground: Ground, departments: Mapping[str, Department]) -> list[RoutedAdapter]:
    """What every replica keeps: per department what answers, what should, and what it can go back to."""
    wanted_by: dict[str, list[str]] = {}
    for name, found in departments.items():
        usable = [found.wanted] if refusal(ground, found.wanted) is None else []
        routed = [found.routed] if found.routed else []
        for adapter in dict.fromkeys([*routed, *usable, *found.previous]):
            wanted_by.setdefault(adapter, []).append(name)
    return [
        _routed_adapter(ground, adapter, names)
        for adapter, names in sorted(wanted_by.items())
        if not ground.held or ground.loaded(adapter)
    ]


def _routed_adapter(ground: Ground, adapter: str, departments: list[str]) -> RoutedAdapter:
    if adapter not in ground.adapters and (loaded := ground.loaded(adapter)):
        return loaded.model_copy(update={"departments": departments})
    spec = ground.adapters[adapter].spec
    return RoutedAdapter(
        version=ground.version(adapter),
        adapter=adapter,
        departments=departments,
        artifact=spec.artifact.path,
        digest=spec.digest,
        manifest_digest=spec.manifest_digest,
    )
