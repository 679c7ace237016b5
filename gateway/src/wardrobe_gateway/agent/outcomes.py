"""What came of a step, and what an adapter is after it. Pure."""

from dataclasses import dataclass, replace

from wardrobe_contracts.state import Reason, Verdict

from .adapters import PENDING, LocalAdapter
from .fetch import Fetched
from .patience import Patience
from .proof import Judgement

BUSY_SECONDS = 1.0
REPETITIONS = 0.2
"""Share of the time that repetitions may take. 84 adapters whose proofs take 1 s each come round every 7 minutes."""


@dataclass(frozen=True)
class Loaded:
    """The engine took it."""


@dataclass(frozen=True)
class Failed:
    """A step failed, in a way that concerns this adapter."""

    verdict: Verdict
    reason: Reason
    message: str


@dataclass(frozen=True)
class Busy:
    """The engine could not take the step now."""

    message: str


@dataclass(frozen=True)
class Unanswered:
    """The engine had no time for a proof of what was proved before, which says nothing of the adapter."""


Outcome = Fetched | Loaded | Judgement | Failed | Busy | Unanswered


def after(adapter: LocalAdapter, outcome: Outcome, now: float, seconds: float, patience: Patience) -> LocalAdapter:
    """An adapter after a step that took so long: who is slow leaves the others four times that before its next one."""

    def due(pause: float) -> float:
        return now + max(pause, rest_after(seconds))

    match outcome:
        case Fetched():
            return replace(adapter, fetched=outcome, **PENDING)
        case Loaded():
            return replace(adapter, loaded=True, **PENDING)
        case Failed(verdict, reason, message):
            return replace(adapter, verdict=verdict, reason=reason, message=message, due=due(patience.retry))
        case Busy(message):
            shown = message if adapter.verdict is Verdict.PENDING else adapter.message
            return replace(adapter, message=shown, due=due(BUSY_SECONDS))
        case Unanswered():
            return replace(adapter, urgent=False, due=due(patience.retry))
        case Judgement(verdict):
            return _judged(adapter, outcome, due(patience.reprove if verdict is Verdict.APPLIED else patience.retry))


def _judged(adapter: LocalAdapter, found: Judgement, due: float) -> LocalAdapter:
    """An adapter that was proved is not taken away by one failure, which is repeated first."""
    if adapter.verdict is Verdict.APPLIED and found.verdict is not Verdict.APPLIED and not adapter.failed:
        return replace(adapter, failed=True, urgent=True, due=0.0)
    judged = replace(adapter, verdict=found.verdict, reason=found.reason, message=found.message, numbers=found.numbers)
    return replace(judged, failed=False, urgent=False, due=due)


def rest_after(seconds: float) -> float:
    """How long one that took so many seconds leaves the others before it comes again."""
    return seconds * (1 / REPETITIONS - 1)
