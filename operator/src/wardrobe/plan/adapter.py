"""Adapter: a fact; its status says whether the base it belongs to is the one that is here."""

from wardrobe.api import basemodel
from wardrobe.api.adapter import AdapterResource, AdapterSpec, AdapterStatus
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Key
from wardrobe.api.reasons import ConditionType, Done, Refused, Waiting

from .conditions import Fact, conditions, kstatus
from .needs import LOOK_AGAIN_SECONDS
from .plan import Plan
from .run_status import phrase, trained_on


def decide(adapter: AdapterResource, base: BaseModelResource | None, now: str) -> Plan:
    """What an Adapter asks for now: only its status."""
    ready = _ready(adapter, base)
    generation = adapter.metadata.generation
    return Plan(
        status=AdapterStatus(
            observed_generation=generation,
            conditions=conditions(adapter.status, [ready, *kstatus(ready)], generation, now),
            score=_score(adapter.spec),
        ),
        requeue_after=LOOK_AGAIN_SECONDS if ready.status == "Unknown" else None,
        waits_on=frozenset({Key(basemodel.KIND, adapter.metadata.namespace, adapter.spec.base_model.name)}),
    )


def _ready(adapter: AdapterResource, base: BaseModelResource | None) -> Fact:
    wanted = adapter.spec.base_model
    if base is None:
        message = f"spec.baseModel.name is {wanted.name!r}: no such BaseModel in this namespace. Create it"
        return Fact(ConditionType.READY, "Unknown", Waiting.BASE_MODEL_NOT_FOUND, message)
    if base.status.digest is None:
        message = f"BaseModel {wanted.name} is not Ready, so its digest is not known"
        return Fact(ConditionType.READY, "Unknown", Waiting.BASE_MODEL_NOT_READY, message)
    if base.status.digest != wanted.digest:
        message = (
            f"spec.baseModel.digest is {wanted.digest!r}: BaseModel {wanted.name} has {base.status.digest}. "
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
