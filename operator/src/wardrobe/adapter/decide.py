"""Adapter: a fact; its status says whether it can be used on the base that is here, and who uses it.

What a run has made was checked by that run's Jobs. Of one that somebody wrote by hand, a Job of its own looks at the
files before it is Ready.
"""

from dataclasses import dataclass

from wardrobe.api.adapter import AdapterResource, AdapterSpec, AdapterStatus
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.reasons import ConditionType, Done, Failure
from wardrobe.base.ready import ReadyBase, files_of, ready_base, waits_on
from wardrobe.plan.conditions import Fact, conditions, kstatus
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS, Missing, Need
from wardrobe.plan.plan import RESYNC_SECONDS, Plan
from wardrobe.plan.scores import phrase, trained_on
from wardrobe.settings import Settings
from wardrobe.stage.advance import Step, Turn, take, turn
from wardrobe.stage.attempt import Ended, Pending
from wardrobe.stage.attempts import Attempts
from wardrobe.writes import Write
from wardrobe_contracts import paths
from wardrobe_contracts.gate import Verdict

from .job import VERIFY, verify_job

NEXT_STEP = "Mend that, then delete the Adapter and create it again: its files are verified once"

USERS_SECONDS = 3600.0
"""How often an Adapter looks whether those that it names still use it. Events say so at once; nobody tells only where a
watch was cut just when a deployment was deleted. Seldom, because every Adapter that answers does it."""


@dataclass(frozen=True)
class Seen:
    """What was observed. `users` are those of status.usedBy that still name the Adapter, or route to it."""

    base: BaseModelResource | None
    users: frozenset[str]
    attempts: Attempts | None = None
    """To verify it; None of one that a run has made."""
    missing: Missing | None = None
    """What a pod would mount, or a record that has to be mended or moved before anything is made."""


@dataclass(frozen=True)
class Verified:
    """How the verification stands, as a condition, and what carries it on."""

    ready: Fact
    writes: tuple[Write, ...] = ()
    look_again: float | None = None


def needs(base: BaseModelResource | None, attempts: Attempts) -> list[Need]:
    """What the verification's pod will mount; asked for only before its Job is made."""
    if base is None or base.status.digest is None or attempts.newest(VERIFY.task) is not None:
        return []
    store = Need.claim("the namespace's store", paths.STORE_CLAIM, "Wardrobe keeps runs and adapters in it")
    return [store, files_of(base)]


def decide(adapter: AdapterResource, seen: Seen, settings: Settings, now: str) -> Plan:
    """What an Adapter asks for now: its status, and, where nobody has looked at its files yet, the Job that does."""
    fits = _fits(adapter, seen.base)
    found = Verified(fits) if isinstance(fits, Fact) else _verified(adapter, fits, seen, settings)
    ready = found.ready
    generation = adapter.metadata.generation
    used_by = [name for name in adapter.status.used_by or [] if name in seen.users]
    return Plan(
        status=AdapterStatus(
            observed_generation=generation,
            conditions=conditions(adapter.status, [ready, *kstatus(ready)], generation, now),
            score=_score(adapter.spec),
            used_by=used_by or None,
        ),
        writes=found.writes,
        requeue_after=found.look_again or _look_again(ready, used_by),
        waits_on=waits_on(seen.base, adapter.spec.base_model.name, adapter.metadata.namespace),
    )


def _look_again(ready: Fact, used_by: list[str]) -> float | None:
    if ready.status == "Unknown":
        return LOOK_AGAIN_SECONDS
    return USERS_SECONDS if used_by else None


def _fits(adapter: AdapterResource, base: BaseModelResource | None) -> Fact | ReadyBase:
    """The base that it belongs to, or why that is not here."""
    wanted = adapter.spec.base_model
    found = ready_base(base, wanted.name)
    if isinstance(found, Missing):
        return Fact(ConditionType.READY, "Unknown", found.reason, found.message)
    if found.digest != wanted.digest:
        message = (
            f"spec.baseModel.digest is {wanted.digest!r}: BaseModel {wanted.name} has {found.digest}. "
            "An adapter works only on the base it was trained on; serve it on a BaseModel of that digest"
        )
        return Fact(ConditionType.READY, "False", Failure.BASE_MODEL_CHANGED, message)
    return found


def _verified(adapter: AdapterResource, base: ReadyBase, seen: Seen, settings: Settings) -> Verified:
    """What its Job says of the files."""
    if seen.attempts is None or seen.base is None:
        return Verified(_accepted(adapter, ""))
    attempts, pod = seen.attempts, seen.base.spec.pod
    step: Step[Pending | Ended] | Turn = turn(attempts, VERIFY)
    if isinstance(step, Turn):
        if seen.missing is not None:
            return Verified(Fact(ConditionType.READY, "Unknown", seen.missing.reason, seen.missing.message))
        step = take(attempts, VERIFY, step, verify_job(adapter, base, pod, step.number, settings))
    writes = step.writes or attempts.put(attempts.known())
    if isinstance(step.state, Pending):
        waits = Fact(ConditionType.READY, "Unknown", step.state.reason, f"verifying its files: {step.state.message}")
        return Verified(waits, writes, step.state.look_again or RESYNC_SECONDS)
    if step.state.result.succeeded:
        return Verified(_accepted(adapter, ", and its files are what it says"), writes)
    message = f"{step.state.message} {NEXT_STEP}" if step.state.result.problem else step.state.message
    return Verified(Fact(ConditionType.READY, "False", step.state.reason, message), writes)


def _accepted(adapter: AdapterResource, looked_at: str) -> Fact:
    rejected = adapter.spec.verdict is Verdict.REJECTED
    but = "; its gate rejected it, and departments name it only with acceptRejected" if rejected else ""
    message = f"fits BaseModel {adapter.spec.base_model.name}{looked_at}{but}"
    return Fact(ConditionType.READY, "True", Done.ACCEPTED, message)


def _score(spec: AdapterSpec) -> str | None:
    if not spec.evaluations:
        return None
    variant = trained_on(spec.lineage.quantization if spec.lineage else None)
    shown = next((found for found in spec.evaluations if found.variant is variant), spec.evaluations[0])
    return phrase(float(shown.base.loss), float(shown.candidate.loss))
