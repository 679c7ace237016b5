"""Which adapter answers for each department next.

Routes move to a new adapter when every replica that counts has proved it, and to one that answered before as soon as
one replica serves it: going back is what somebody does in need.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest

from wardrobe import engines
from wardrobe.api.adapter import USERS_LIMIT, AdapterResource, JudgementSpec
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.reasons import ConditionType, Done, Failure, Waiting
from wardrobe.deployment.children.revision import History
from wardrobe_contracts.base import AdapterName, Digest
from wardrobe_contracts.gate import Outcome, Verdict
from wardrobe_contracts.routes import (
    FOR_AGENTS,
    BaseShape,
    EngineAdapterName,
    Permit,
    Route,
    RoutedAdapter,
    RoutedBase,
    Routes,
    engine_adapter_name,
)

from . import memory, proofs
from .permit import Postponed, Turn, left_out, next_turn
from .proofs import Replica


@dataclass(frozen=True)
class Department:
    """One department's standing. Names are of Adapters."""

    wanted: str
    routed: str | None
    previous: list[str]
    reason: Waiting | Failure | Done
    message: str


@dataclass(frozen=True)
class Rollout:
    """Where the deployment is going."""

    routes: Routes
    departments: dict[str, Department]
    turn: Turn | Postponed | None = None
    """Which engine starts anew, for engines that take adapters only then."""
    cold: frozenset[str] = frozenset()
    """Previous adapters that there is no memory for: going back to one loads and proves it first."""
    stranded: frozenset[str] = frozenset()
    """Adapters that answer now and could not on engine pods of the variant or type that is asked for."""


@dataclass(frozen=True)
class Inputs:
    """What a rollout stands on. `adapters` holds by name all that may be loaded; `unreadable` says what is wrong."""

    deployment: str
    spec: AdapterDeploymentSpec
    base_digest: Digest
    adapters: Mapping[str, AdapterResource]
    history: History | None
    current: Routes | None
    replicas: Sequence[Replica]
    obstacle: Waiting | Failure | None = None
    """Why no adapter is loaded that is not loaded yet, if so."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    shape: BaseShape | None = None
    """Of the base, as far as it is known."""
    agents_look: bool = False
    """Whether agents hold adapters against the shape, since the engine does not."""
    rolling: bool = False
    """Whether engine pods are being replaced: those that come start with the newest set by themselves."""
    gap_announced: bool = False
    """Whether the status says already that the only engine restarts."""

    @cached_property
    def turn(self) -> Turn | Postponed | None:
        """Which engine starts anew now, or will."""
        return next_turn(self.current, self.replicas, self.spec.replicas, rolling=self.rolling)

    def engine_name(self, adapter: AdapterName) -> EngineAdapterName:
        """What engines call an Adapter that is there, or is still routed."""
        if adapter in self.adapters:
            return engine_adapter_name(adapter, self.adapters[adapter].spec.digest)
        loaded = self.loaded(adapter)
        if loaded is None:
            raise KeyError(f"Adapter {adapter} is neither there nor routed")
        return loaded.engine_name

    def markable(self, adapter: AdapterName) -> bool:
        """Whether the Adapter can say that it is in use here, so that nobody deletes it once it is routed."""
        users = self.adapters[adapter].status.used_by or []
        return self.deployment in users or len(users) < USERS_LIMIT

    @cached_property
    def room(self) -> memory.Room:
        """For what must be loaded: what answers, and what should, what is loaded already before what is not."""
        named = ((name, found.adapter) for name, found in self.spec.departments.items())
        accepted = {one for name, one in named if rejected(self, name) is None and unverified(self, one) is None}
        wanted = sorted(accepted, key=lambda name: (self.loaded(name) is None, name))
        room = memory.Room(self.spec, self.shape, {name: found.spec for name, found in self.adapters.items()})
        routed = [now for name in self.spec.departments if (now := self.routed(name))]
        return room.holding(routed).taking(name for name in wanted if unfit(self, name) is None)

    def past(self, department: str) -> list[str]:
        """Adapters that have answered for a department, newest first."""
        return self.history.adapters.get(department, []) if self.history else []

    def previous(self, department: str, routed: str | None) -> list[str]:
        """Adapters that answered before and are still usable, newest first, as many as are kept loaded."""
        past = (name for name in self.past(department) if name != routed)
        usable = [name for name in past if unfit(self, name) is None and unverified(self, name) is None]
        return usable[: self.spec.history.keep_loaded]

    def routed(self, department: str) -> str | None:
        """The Adapter that answers now, also where somebody deleted it; without routes, what history says last."""
        if self.current is None:
            return next((name for name in self.past(department)[:1] if unfit(self, name) is None), None)
        route = self.current.departments.get(department)
        names = {loaded.engine_name: loaded.adapter for loaded in self.current.adapters}
        return names.get(route.engine_name) if route and route.engine_name else None

    def loaded(self, adapter: AdapterName) -> RoutedAdapter | None:
        """An Adapter as the routes in force have it: all that is needed to go on serving it."""
        found = self.current.adapters if self.current else []
        return next((loaded for loaded in found if loaded.adapter == adapter), None)


@dataclass(frozen=True)
class Unfit:
    """Why an Adapter cannot be loaded in this deployment."""

    reason: Waiting
    message: str


def unfit(inputs: Inputs, adapter: AdapterName) -> Unfit | None:
    """None where the Adapter exists, belongs to the base, and was assessed on the deployment's variant."""
    if why := inputs.unreadable.get(adapter):
        message = (
            f"Adapter {adapter} cannot be read by this release of Wardrobe ({why}). Apply the kinds of this release, "
            "or name another Adapter"
        )
        return Unfit(Waiting.ADAPTER_UNREADABLE, message)
    found = inputs.adapters.get(adapter)
    if found is None:
        message = "no such Adapter in this namespace. Name one that `kubectl get adapters` lists, or create it"
        return Unfit(Waiting.ADAPTER_NOT_FOUND, message)
    if found.spec.base_model.digest != inputs.base_digest:
        message = (
            f"Adapter {adapter} belongs to a base of digest {found.spec.base_model.digest}, and this deployment's is "
            f"{inputs.base_digest}. Name an adapter that was trained on it"
        )
        return Unfit(Waiting.ADAPTER_NOT_READY, message)
    if not assessed(inputs, adapter):
        known = ", ".join(evaluation.variant for evaluation in found.spec.evaluations) or "none"
        message = (
            f"Adapter {adapter} was not assessed on {inputs.spec.quantization}{_why_not(inputs, found)}, so its effect "
            f"cannot be proved. It has scores on: {known}. Set spec.quantization to one of these, or name another "
            "adapter"
        )
        return Unfit(Waiting.VARIANT_NOT_ASSESSED, message)
    if why := engines.unfit(inputs.spec, found.spec):
        return Unfit(Waiting.ENGINE_CANNOT_SERVE, f"Adapter {adapter} {why}")
    return None


def _why_not(inputs: Inputs, found: AdapterResource) -> str:
    tried = (one for one in found.spec.not_assessed or [] if one.variant is inputs.spec.quantization)
    return next((f" ({one.message})" for one in tried), "")


def unverified(inputs: Inputs, adapter: AdapterName) -> Unfit | None:
    """Where nobody has looked at the files of an Adapter by hand. What is loaded was proved, and goes on."""
    found = inputs.adapters.get(adapter)
    if found is None or found.made_by_a_run or inputs.loaded(adapter):
        return None
    ready = found.status.condition(ConditionType.READY)
    if ready is not None and ready.status == "True":
        return None
    why = ready.message if ready else "its files are not verified yet"
    return Unfit(Waiting.ADAPTER_NOT_READY, f"Adapter {adapter}, which was written by hand, is not Ready: {why}")


def rejected(inputs: Inputs, department: str) -> Unfit | None:
    """Where its run's gate rejected the Adapter that a department names, and the department does not accept that."""
    named = inputs.spec.departments[department]
    found = inputs.adapters.get(named.adapter)
    if found is None or found.spec.verdict is not Verdict.REJECTED or named.accept_rejected == found.spec.digest:
        return None
    failed = [rule for rule in found.spec.gate or [] if rule.outcome is Outcome.FAILED]
    why = "; ".join(map(_failed, failed))
    message = (
        f"its gate rejected Adapter {named.adapter} ({why}). Name another adapter; or, to have this one all the same, "
        f"set spec.departments.{department}.acceptRejected to {found.spec.digest}"
    )
    return Unfit(Waiting.ADAPTER_REJECTED, message)


def _failed(rule: JudgementSpec) -> str:
    if rule.regression is None:
        return f"{rule.metric} against {rule.adapter}: {rule.message}"
    other = rule.adapter or "the base"
    return (
        f"{rule.metric} on {rule.variant} is {rule.candidate} where {other} has {rule.reference}: "
        f"{float(rule.regression):+.1%}, and {float(rule.max_regression):+.1%} is allowed"
    )


def roll_out(inputs: Inputs, generation: int) -> Rollout:
    """The next routes and how each department stands. `generation` is that of a changed set of routes."""
    departments = {name: _department(inputs, name) for name in sorted(inputs.spec.departments)}
    kept = _kept(inputs, departments)
    loaded = _loaded(inputs, departments, kept)
    routes = Routes(
        deployment=inputs.deployment,
        generation=inputs.current.generation if inputs.current else generation,
        base=_routed_base(inputs),
        departments={
            name: Route(engine_name=inputs.engine_name(found.routed) if found.routed else None)
            for name, found in departments.items()
        },
        adapters=loaded,
        authentication=inputs.spec.authentication,
        verification=inputs.spec.verification,
        permit=_permit(inputs, departments),
        refused=left_out({found.engine_name for found in loaded}, inputs.current, inputs.replicas),
        answering_since=inputs.current.answering_since if inputs.current else None,
    )
    cold = frozenset(name for found in departments.values() for name in found.previous) - kept
    stranded = _stranded(inputs, departments)
    return Rollout(_numbered(routes, inputs.current, generation), departments, inputs.turn, cold, stranded)


def _routed_base(inputs: Inputs) -> RoutedBase:
    """Other agents get routes without a shape: those of before there was one."""
    shape = inputs.shape if inputs.agents_look else None
    return RoutedBase(name=inputs.spec.base_model.name, digest=inputs.base_digest, shape=shape)


def _numbered(routes: Routes, current: Routes | None, generation: int) -> Routes:
    """Changed routes are of a new generation; where routers need not know, they say since when these answer alike."""
    if routes == current:
        return routes
    if current is None or routes.model_copy(update={name: getattr(current, name) for name in FOR_AGENTS}) != current:
        return routes.model_copy(update={"generation": generation, "answering_since": None})
    return routes.model_copy(update={"generation": generation, "answering_since": current.answers_alike_since})


def _permit(inputs: Inputs, departments: Mapping[str, Department]) -> Permit | None:
    """A gap is announced first; it need not be where no department has anything to say of it."""
    turn = inputs.turn
    if not isinstance(turn, Turn):
        return None
    unsaid = (
        any(found.reason is Waiting.ONLY_ENGINE_RESTARTING for found in departments.values())
        and not inputs.gap_announced
    )
    return None if turn.gap and not turn.given and unsaid else turn.permit


def _stranded(inputs: Inputs, departments: Mapping[str, Department]) -> frozenset[str]:
    """Routed Adapters without a record on the deployment's quantization, or not for its engine: they would be proved on
    no pod that came."""
    routed = {found.routed for found in departments.values() if found.routed in inputs.adapters}
    return frozenset(name for name in routed if name and not _served_anew(inputs, name))


def _served_anew(inputs: Inputs, adapter: AdapterName) -> bool:
    """Whether a pod made by today's spec could answer with an Adapter that is there."""
    return assessed(inputs, adapter) and engines.unfit(inputs.spec, inputs.adapters[adapter].spec) is None


def assessed(inputs: Inputs, adapter: AdapterName) -> bool:
    """Whether an Adapter that is there has scores on the deployment's quantization."""
    evaluations = inputs.adapters[adapter].spec.evaluations
    return inputs.spec.quantization in {found.variant for found in evaluations}


def _department(inputs: Inputs, name: str) -> Department:
    wanted = inputs.spec.departments[name].adapter
    now = inputs.routed(name)
    field = f"spec.departments.{name}.adapter is {wanted!r}"
    gap = isinstance(inputs.turn, Turn) and inputs.turn.gap
    meanwhile = _meanwhile(now) if any(replica.counts for replica in inputs.replicas) and not gap else ""
    if why := unfit(inputs, wanted) or unverified(inputs, wanted) or rejected(inputs, name):
        message = f"{field}: {why.message}{meanwhile}"
        return Department(wanted, now, inputs.previous(name, now), why.reason, message)
    enough = proofs.served if wanted in inputs.past(name) else proofs.proved
    proved = enough(inputs.engine_name(wanted), inputs.replicas)
    if now == wanted or (proved and inputs.markable(wanted)):
        return _routed(inputs, name, wanted)
    if wanted not in inputs.room.taken:
        message = f"{field}: {inputs.room.lacks(wanted)}{meanwhile}"
        return Department(wanted, now, inputs.previous(name, now), Waiting.ADAPTERS_TOO_LARGE, message)
    reason, message = _awaited(inputs, name, field, proved=proved)
    return Department(wanted, now, inputs.previous(name, now), reason, f"{message}{meanwhile}")


def _awaited(inputs: Inputs, name: str, field: str, *, proved: bool) -> tuple[Waiting | Failure, str]:
    """What an adapter that may be loaded waits for."""
    wanted = inputs.spec.departments[name].adapter
    if inputs.obstacle and inputs.loaded(wanted) is None:
        return inputs.obstacle, f"{field}: nothing new is loaded while the deployment is held back"
    if proved:
        message = (
            f"{wanted} is proved, but its status.usedBy names {USERS_LIMIT} AdapterDeployments, and no more fit. "
            "Point one of them at another adapter, or name another here"
        )
        return Waiting.MARKING_IN_USE, f"{field}: {message}"
    if failed := proofs.failure(inputs.engine_name(wanted), inputs.replicas):
        return Waiting.NOT_PROVED, f"{field}: {failed}"
    gap = isinstance(inputs.turn, Turn) and inputs.turn.gap
    if inputs.turn and (gap or proofs.awaits_restart(inputs.engine_name(wanted), inputs.replicas)):
        reason = Waiting.ONLY_ENGINE_RESTARTING if gap else Waiting.ENGINE_RESTARTING
        return reason, f"{name}: {wanted} {_restarts_with(inputs.turn)}"
    if not any(replica.counts for replica in inputs.replicas):
        return Waiting.NO_REPLICA_READY, f"{name}: no engine pod is ready and can be reached"
    return Waiting.PROVING, f"{name}: {wanted} is being loaded and proved"


def _routed(inputs: Inputs, name: str, wanted: str) -> Department:
    """The wanted adapter answers; but a replica may have come to doubt it since."""
    reason, message = _answered(inputs, wanted)
    return Department(wanted, wanted, inputs.previous(name, wanted), reason, f"{name}: {wanted} {message}")


def _answered(inputs: Inputs, adapter: AdapterName) -> tuple[Waiting | Done, str]:
    name = inputs.engine_name(adapter)
    if isinstance(inputs.turn, Turn) and inputs.turn.gap:
        return Waiting.ONLY_ENGINE_RESTARTING, f"is routed, and {_gap(inputs.turn)}"
    if not any(replica.counts for replica in inputs.replicas):
        return Waiting.NO_REPLICA_READY, "is routed, no engine pod is ready and can be reached"
    if failed := proofs.failure(name, inputs.replicas):
        return Waiting.NOT_PROVED, f"is routed, but {failed}"
    if not proofs.proved(name, inputs.replicas):
        return Waiting.PROVING, "is routed and being proved again"
    return Done.PROVED, "answers"


def _restarts_with(turn: Turn | Postponed) -> str:
    """What an adapter that is not loaded yet waits for."""
    if isinstance(turn, Postponed):
        return f"waits: {turn.message}"
    words = f"waits until engine {turn.permit.pod} has restarted with it ({turn.order})"
    if turn.silent:
        words += f". It does not answer; delete pod {turn.permit.pod} if it is gone or stays so"
    return f"{words}; {_gap(turn)}" if turn.gap else words


def _gap(turn: Turn) -> str:
    """What becomes of requests while the only engine restarts."""
    lasts = (
        f"for about {turn.seconds:.0f} s" if turn.seconds else "until it has loaded the base and proved its adapters"
    )
    return f"engine {turn.permit.pod}, the only one, restarts: requests get 503 with Retry-After {lasts}"


def _meanwhile(now: str | None) -> str:
    return f"; {now} goes on answering" if now else "; nothing answers yet"


def _kept(inputs: Inputs, departments: Mapping[str, Department]) -> frozenset[AdapterName]:
    """What answers, what should, and of what may answer again as many as there is memory for, newest first."""
    room = inputs.room.holding(found.routed for found in departments.values() if found.routed)
    ages = zip_longest(*(found.previous for found in departments.values()))
    return room.taking(name for same_age in ages for name in same_age if name).taken


def _loaded(inputs: Inputs, departments: Mapping[str, Department], kept: frozenset[AdapterName]) -> list[RoutedAdapter]:
    """What every replica keeps, and for whom."""
    wanted_by: dict[str, list[str]] = {}
    for name, found in departments.items():
        wanted = None if found.reason is Waiting.ADAPTER_REJECTED else found.wanted
        for adapter in dict.fromkeys([found.routed, wanted, *found.previous]):
            if adapter in kept:
                wanted_by.setdefault(adapter, []).append(name)
    return [
        _routed_adapter(inputs, adapter, names)
        for adapter, names in sorted(wanted_by.items())
        if not inputs.obstacle or inputs.loaded(adapter)
    ]


def _routed_adapter(inputs: Inputs, adapter: AdapterName, departments: list[str]) -> RoutedAdapter:
    if adapter not in inputs.adapters and (loaded := inputs.loaded(adapter)):
        return loaded.model_copy(update={"departments": departments})
    spec = inputs.adapters[adapter].spec
    return RoutedAdapter(
        engine_name=inputs.engine_name(adapter),
        adapter=adapter,
        departments=departments,
        artifact=spec.artifact.path,
        digest=spec.digest,
        manifest_digest=spec.manifest_digest,
    )
