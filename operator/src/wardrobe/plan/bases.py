"""Whether a BaseModel can be built on, in one wording for all kinds that name one."""

from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.reasons import ConditionType, Waiting
from wardrobe_contracts.base import Digest

from .needs import Missing


def ready_digest(base: BaseModelResource | None, name: str) -> Digest | Missing:
    """Digest of the BaseModel that spec.baseModel names, or why it cannot be used now."""
    if base is None:
        message = f"spec.baseModel.name is {name!r}: no such BaseModel in this namespace. Create it"
        return Missing(Waiting.BASE_MODEL_NOT_FOUND, message)
    ready = base.status.condition(ConditionType.READY)
    if ready is not None and ready.status == "True" and base.status.digest is not None:
        return base.status.digest
    why = "its inspection failed" if ready is not None and ready.status == "False" else "it is not inspected yet"
    message = f"BaseModel {name} is not Ready: {why}; see `kubectl describe bm {name}`"
    return Missing(Waiting.BASE_MODEL_NOT_READY, message)
