"""Conditions: what is true now, with times that move only when a status changes."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from wardrobe.api.meta import Condition, ConditionStatus, Status
from wardrobe.api.reasons import ConditionType, Waiting

MESSAGE_LIMIT = 2048
"""Characters; metav1.Condition allows 32768, but nobody reads that."""


@dataclass(frozen=True)
class Fact:
    """A condition without its bookkeeping."""

    type: ConditionType
    status: ConditionStatus
    reason: str
    message: str


def conditions(before: Status, facts: Iterable[Fact], generation: int, now: str) -> list[Condition]:
    """Facts as conditions; the time of a condition whose status stayed is kept."""
    return [_condition(before.condition(fact.type), fact, generation, now) for fact in facts]


def _condition(before: Condition | None, fact: Fact, generation: int, now: str) -> Condition:
    same = before is not None and before.status == fact.status
    return Condition(
        type=fact.type,
        status=fact.status,
        reason=fact.reason,
        message=fact.message[:MESSAGE_LIMIT],
        last_transition_time=before.last_transition_time if same and before else now,
        observed_generation=generation,
    )


def seconds_between(earlier: str, later: str) -> float:
    """Between two times as the API writes them."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


STALLING = {Waiting.RECORD_UNREADABLE, Waiting.OBJECT_UNREADABLE}
"""Reasons that leave the summing condition Unknown, and that no waiting mends."""


def kstatus(top: Fact) -> list[Fact]:
    """The two conditions that readers of kstatus, such as Flux, look for, derived from the top one.

    The one that does not hold has no message: `kubectl describe` need not say everything four times.
    """
    stalled = top.status == "False" or top.reason in STALLING
    reconciling = top.status == "Unknown" and not stalled
    return [_mark(ConditionType.RECONCILING, top, reconciling), _mark(ConditionType.STALLED, top, stalled)]


def _mark(kind: ConditionType, top: Fact, holds: bool) -> Fact:
    return Fact(kind, "True" if holds else "False", top.reason, top.message if holds else "")
