"""What is said when the API refuses an object that a decision wanted."""

from wardrobe.api.meta import Resource, Status
from wardrobe.api.reasons import ConditionType, Waiting

from .conditions import Fact, conditions, kstatus


def refused(resource: Resource, wanted: Status, message: str, now: str) -> Status:
    """The status that was wanted, with its top condition saying what the API refused. It is tried again."""
    kind = ConditionType.SUCCEEDED if wanted.condition(ConditionType.SUCCEEDED) else ConditionType.READY
    top = Fact(kind, "Unknown", Waiting.API_REFUSED, f"the API refused {message}")
    said = {fact.type: fact for fact in (top, *kstatus(top))}
    before = type(wanted).model_validate(resource.model_dump(by_alias=True)["status"])
    changed = {c.type: c for c in conditions(before, said.values(), resource.metadata.generation, now)}
    return wanted.model_copy(update={"conditions": [changed.get(c.type, c) for c in wanted.conditions]})
