"""For an engine that takes adapters only when it starts: which set it should have, and what to do about it. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from wardrobe_contracts.base import Digest
from wardrobe_contracts.engine_process import ProcessOrder, ProcessState
from wardrobe_contracts.routes import EngineAdapterName

from .engine_process import words
from .patience import Patience
from .steps import OwnStep

DRAIN_SECONDS = 60.0
"""What requests may take to finish before a restart. Then the engine is told to end, and may still finish some."""
MOST_ENDS = 2
"""A set has not come up if the engine has ended by itself so often before all of it was proved once. The first end may
have been the node's doing, or a person's."""
TRIAL_STARTS = 2
"""All of a set may take as long to be proved as so many starts. Then it has come up if it answers."""

Names = frozenset[EngineAdapterName]


@dataclass(frozen=True)
class Accept(OwnStep):
    """The engine answers with what was ordered."""


@dataclass(frozen=True)
class Confirm(OwnStep):
    """All of what was ordered has been proved once."""


@dataclass(frozen=True)
class Resume(OwnStep):
    """One of what was ordered is wanted again that had been withdrawn unproved: it may yet end the engine."""


@dataclass(frozen=True)
class GiveUp(OwnStep):
    """The engine does not come up with what was ordered, or does not stay up."""

    why: str


@dataclass(frozen=True)
class Drain(OwnStep):
    """Turn requests away, since the engine is about to be restarted."""


@dataclass(frozen=True)
class CallOff(OwnStep):
    """Take requests again: the engine goes on as it is."""


@dataclass(frozen=True)
class Begin(OwnStep):
    """Order the set that is wanted."""


@dataclass(frozen=True)
class Situation:
    """What is decided by."""

    now: float
    patience: Patience
    order: ProcessOrder | None = None
    ordered_at: float = 0.0
    process: ProcessState | None = None
    answering: Digest | None = None
    """With which set the process was started that answers; None where none does."""
    given_up: bool = False
    """Whether what is ordered was given up already."""
    ends: int = 0
    """How often the engine has ended by itself since it was accepted."""
    proved_from: float | None = None
    """Since when it answers, and no proof of what it has is outstanding."""
    is_back: bool = False
    """Whether one of its unproved is to be proved now."""
    wanted: Digest | None = None
    """What a restart should bring: it is written, and has stayed the same for a while."""
    permitted: Digest | None = None
    """What this agent may restart its engine with."""
    drained_from: float | None = None
    in_flight: int = 0


def choose(fitting: Sequence[EngineAdapterName], running: Names, failed: Collection[Names]) -> Names:
    """The adapters that the engine should have: all that fit, in order of need.

    Sets that did not come up, and all that hold one of them, are not tried. Then newcomers join those that have run one
    at a time, so that the bad one is found and keeps no other out.
    """

    def hopeless(members: Names) -> bool:
        return any(members >= one for one in failed)

    everything = frozenset(fitting)
    if not hopeless(everything):
        return everything
    known = everything & running
    tries = (known | {name} for name in fitting if name not in running)
    return next((members for members in tries if not hopeless(members)), known)


def decide(at: Situation) -> OwnStep | None:
    """The next step of a restart, if any may be taken."""
    if at.order is not None and not at.order.proved:
        ending = _end_of_trial(at, at.order) if at.order.accepted else _end_of_start(at, at.order)
        if ending is not None or not at.given_up:
            return ending
    if at.order is not None and at.order.proved and at.is_back and at.drained_from is None:
        return Resume()
    if at.wanted is None:
        return CallOff() if at.drained_from is not None else None
    if not needs_permit(at.order):
        return Begin()
    if at.drained_from is None:
        return Drain() if at.permitted == at.wanted else None
    over = not at.in_flight or at.now - at.drained_from >= DRAIN_SECONDS
    return Begin() if over else None


def needs_permit(order: ProcessOrder | None) -> bool:
    """An engine that never came up serves nobody, and may start at any time."""
    return order is not None and (order.accepted or order.fallback is not None)


def _end_of_start(at: Situation, order: ProcessOrder) -> OwnStep | None:
    """Whether what is ordered has come up, or will not. What kills the engine is not accepted again."""
    if _answers(at, order) and at.ends < MOST_ENDS:
        return Accept()
    why = None if at.given_up else _why_hopeless(at, order)
    return GiveUp(why) if why else None


def _end_of_trial(at: Situation, order: ProcessOrder) -> OwnStep | None:
    """What an engine has shown that came up with a set: nothing else is begun before that is known."""
    longest = TRIAL_STARTS * at.patience.start
    is_over = at.now - at.ordered_at >= longest
    is_steady = at.proved_from is not None and at.now - at.proved_from >= at.patience.steady
    if _answers(at, order) and (is_steady or is_over):
        return Confirm()
    how = words(at.process.ended) if at.process and at.process.ended else ""
    if at.ends >= MOST_ENDS:
        return GiveUp(f"it came up, and ended {at.ends} times before all of its adapters were proved. {how}".strip())
    if is_over:
        return GiveUp(f"it came up, but does not answer {longest / 60:g} minutes later. {how}".strip())
    return None


def _answers(at: Situation, order: ProcessOrder) -> bool:
    """Whether what runs was started with what is ordered, and has answered lately."""
    return at.process is not None and at.answering == at.process.engine_set == order.start.engine_set


def _why_hopeless(at: Situation, order: ProcessOrder) -> str | None:
    """Why an engine that was ordered will not come up; None while it still may."""
    ended = (at.process or ProcessState()).ended
    if ended is not None and ended.engine_set == order.start.engine_set and ended.incarnation != order.ended_before:
        return words(ended)
    if at.now - at.ordered_at >= at.patience.start:
        return f"the engine did not answer within {at.patience.start:g} s after its start"
    return None
