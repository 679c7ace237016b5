"""Adapter: a fact; its status says whether the base it belongs to is the one that is here, and who uses it."""

from collections.abc import Sequence
from dataclasses import dataclass

from wardrobe.api import basemodel
from wardrobe.api.adapter import AdapterResource, AdapterSpec, AdapterStatus
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Key
from wardrobe.api.reasons import ConditionType, Done, Refused

from .bases import ready_digest
from .conditions import Fact, conditions, kstatus
from .needs import LOOK_AGAIN_SECONDS, Missing
from .plan import RESYNC_SECONDS, Plan
from .run_status import phrase, trained_on

USERS_LIMIT = 100
"""As many as the status may name. A deployment beyond them is not let in, and says so."""


@dataclass(frozen=True)
class User:
    """An AdapterDeployment, and the Adapters that its spec names or its routes lead to."""

    name: str
    adapters: frozenset[str]


@dataclass(frozen=True)
class Seen:
    """What was observed. `users` are all AdapterDeployments of the namespace."""

    base: BaseModelResource | None
    users: Sequence[User]


def decide(adapter: AdapterResource, seen: Seen, now: str) -> Plan:
    """What an Adapter asks for now: only its status."""
    ready = _ready(adapter, seen.base)
    generation = adapter.metadata.generation
    used_by = sorted(user.name for user in seen.users if adapter.metadata.name in user.adapters)
    return Plan(
        status=AdapterStatus(
            observed_generation=generation,
            conditions=conditions(adapter.status, [ready, *kstatus(ready)], generation, now),
            score=_score(adapter.spec),
            used_by=used_by[:USERS_LIMIT] or None,
        ),
        requeue_after=_look_again(ready, used_by),
        waits_on=frozenset({Key(basemodel.KIND, adapter.metadata.namespace, adapter.spec.base_model.name)}),
    )


def _look_again(ready: Fact, used_by: list[str]) -> float | None:
    """A watch that was cut does not tell what was deleted meanwhile: who is said to use it is looked at again."""
    if ready.status == "Unknown":
        return LOOK_AGAIN_SECONDS
    return RESYNC_SECONDS if used_by else None


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
        return Fact(ConditionType.READY, "False", Refused.BASE_MODEL_CHANGED, message)
    return Fact(ConditionType.READY, "True", Done.ACCEPTED, f"fits BaseModel {wanted.name}")


def _score(spec: AdapterSpec) -> str | None:
    if not spec.evaluations:
        return None
    variant = trained_on(spec.lineage.method if spec.lineage else None)
    shown = next((found for found in spec.evaluations if found.variant is variant), spec.evaluations[0])
    return phrase(float(shown.base.loss), float(shown.candidate.loss))
