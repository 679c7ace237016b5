"""What is said when the API refuses an object that a decision wanted."""

from wardrobe.api.meta import Resource, Status
from wardrobe.api.reasons import ConditionType, Waiting

from .conditions import Fact, conditions, kstatus


def refused(resource: Resource, top: ConditionType, message: str, now: str) -> Status:
    """The status as it was, its top condition saying what the API refused: nothing that was decided came true."""
    fact = Fact(top, "Unknown", Waiting.API_REFUSED, f"the API refused {message}")
    before, generation = resource.status, resource.metadata.generation
    said = conditions(before, [fact, *kstatus(fact)], generation, now)
    others = [old for old in before.conditions if old.type not in {new.type for new in said}]
    return before.model_copy(update={"observed_generation": generation, "conditions": [said[0], *others, *said[1:]]})
