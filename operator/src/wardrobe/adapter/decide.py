"""Adapter: a fact; its status says whether the base it belongs to is the one that is here, and who uses it."""

from dataclasses import dataclass

from wardrobe.api.adapter import AdapterResource, AdapterSpec, AdapterStatus
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.reasons import ConditionType, Done, Failure
from wardrobe.base.ready import ready_digest, waits_on
from wardrobe.plan.conditions import Fact, conditions, kstatus
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS, Missing
from wardrobe.plan.plan import Plan
from wardrobe.run.status import phrase, trained_on
from wardrobe_contracts.gate import Verdict

USERS_SECONDS = 3600.0
"""How often an Adapter looks whether those that it names still use it. Events say so at once; nobody tells only where a
watch was cut just when a deployment was deleted. Seldom, because every Adapter that answers does it."""


@dataclass(frozen=True)
class Seen:
    """What was observed. `users` are those of status.usedBy that still name the Adapter, or route to it."""

    base: BaseModelResource | None
    users: frozenset[str]


def decide(adapter: AdapterResource, seen: Seen, now: str) -> Plan:
    """What an Adapter asks for now: only its status."""
    ready = _ready(adapter, seen.base)
    generation = adapter.metadata.generation
    used_by = [name for name in adapter.status.used_by or [] if name in seen.users]
    return Plan(
        status=AdapterStatus(
            observed_generation=generation,
            conditions=conditions(adapter.status, [ready, *kstatus(ready)], generation, now),
            score=_score(adapter.spec),
            used_by=used_by or None,
        ),
        requeue_after=_look_again(ready, used_by),
        waits_on=waits_on(seen.base, adapter.spec.base_model.name, adapter.metadata.namespace),
    )


def _look_again(ready: Fact, used_by: list[str]) -> float | None:
    if ready.status == "Unknown":
        return LOOK_AGAIN_SECONDS
    return USERS_SECONDS if used_by else None


def _ready(adapter: AdapterResource, base: BaseModelResource | None) -> Fact:
    wanted = adapter.spec.base_model
    digest = ready_digest(base, wanted.name)
    if isinstance(digest, Missing):
        return Fact(ConditionType.READY, "Unknown", digest.reason, digest.message)
    if digest != wanted.digest:
        message = (
            f"spec.baseModel.digest is {wanted.digest!r}: BaseModel {wanted.name} has {digest}. "
            "An adapter works only on the base it was trained on; serve it on a BaseModel of that digest"
        )
        return Fact(ConditionType.READY, "False", Failure.BASE_MODEL_CHANGED, message)
    rejected = adapter.spec.verdict is Verdict.REJECTED
    but = "; its gate rejected it, and departments name it only with acceptRejected" if rejected else ""
    return Fact(ConditionType.READY, "True", Done.ACCEPTED, f"fits BaseModel {wanted.name}{but}")


def _score(spec: AdapterSpec) -> str | None:
    if not spec.evaluations:
        return None
    variant = trained_on(spec.lineage.quantization if spec.lineage else None)
    shown = next((found for found in spec.evaluations if found.variant is variant), spec.evaluations[0])
    return phrase(float(shown.base.loss), float(shown.candidate.loss))
