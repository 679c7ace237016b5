"""What is said where nothing can be decided: the API refuses an object, or the resource itself cannot be read."""

from wardrobe.api.meta import Resource, Status
from wardrobe.api.reasons import ConditionType, Waiting

from .conditions import Fact, conditions, kstatus


def api_refused(resource: Resource, top: ConditionType, message: str, now: str) -> Status:
    """The status as it was, its top condition saying what the API refused: nothing that was decided came true."""
    return with_top(resource, Fact(top, "Unknown", Waiting.API_REFUSED, f"the API refused {message}"), now)


def with_top(resource: Resource, fact: Fact, now: str) -> Status:
    """The status as it was, but for its top condition."""
    before, generation = resource.status, resource.metadata.generation
    marks = conditions(before, [fact, *kstatus(fact)], generation, now)
    others = [old for old in before.conditions if old.type not in {new.type for new in marks}]
    return before.model_copy(update={"observed_generation": generation, "conditions": [marks[0], *others, *marks[1:]]})
