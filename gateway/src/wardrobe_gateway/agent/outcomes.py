"""What came of a step, and what an adapter is after it. Pure."""

from dataclasses import dataclass, replace

from wardrobe_contracts.state import Reason, Verdict

from .adapters import LocalAdapter
from .fetch import Fetched
from .patience import Patience
from .proof import Judgement

BUSY_SECONDS = 1.0
MOST_ENDS = 2
"""Of the engine at one adapter, in a row, before that is left out."""
LONGEST_APART = 3600.0
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


def is_answer(outcome: Outcome) -> bool:
    """Whether the engine has lived through a step: a proof without numbers may have waited in vain."""
    return isinstance(outcome, Loaded | Failed) or (isinstance(outcome, Judgement) and outcome.numbers is not None)


def after(adapter: LocalAdapter, outcome: Outcome, now: float, seconds: float, patience: Patience) -> LocalAdapter:
    """An adapter after a step that took so long: who is slow leaves the others four times that before its next one."""

    def due(pause: float) -> float:
        return now + max(pause, rest_after(seconds))

    match outcome:
        case Fetched():
            return replace(adapter.to_be_judged(), fetched=outcome)
        case Loaded():
            return replace(adapter.to_be_judged(), loaded=True)
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
    ends = 0 if is_answer(found) else adapter.ends
    return replace(judged, ends=ends, failed=False, urgent=False, due=due)


def after_end(adapter: LocalAdapter, words: str, now: float, patience: Patience) -> LocalAdapter:
    """An adapter at whose load or first proof the engine has ended once more. The first time it may have been the
    node's doing, a person's, or another adapter's request."""
    ends = adapter.ends + 1
    if ends < MOST_ENDS:
        return replace(adapter, ends=ends)
    pause = min(patience.apart * 2 ** (ends - MOST_ENDS), LONGEST_APART)
    message = f"the engine has ended {ends} times in a row at its load or first proof, tried again in {pause:g} s"
    left_out = Failed(Verdict.LOAD_FAILED, Reason.REFUSED_BY_ENGINE, f"{message}: {words}")
    return replace(after(adapter, left_out, now, 0.0, patience), loaded=False, ends=ends, due=now + pause)


def rest_after(seconds: float) -> float:
    """How long one that took so many seconds leaves the others before it comes again."""
    return seconds * (1 / REPETITIONS - 1)
