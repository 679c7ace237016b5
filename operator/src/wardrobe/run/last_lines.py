"""What the process that ended an attempt wrote last, for the Event that tells of it. Conditions are no place for it."""

from wardrobe.api.reasons import Failure, Waiting
from wardrobe.stage.attempt import Ended, Pending
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts.result import Failed, Result
from wardrobe_contracts.text import last_that_fit

from .stages.stage import JobStage, Published, RunStage

LIMIT = 460
"""Characters; an Event has room for some 500 beside what the condition says."""


def last_lines(stage: RunStage, state: Pending | Ended | Published, attempts: Attempts) -> str:
    """Its rank and its lines; empty where nothing has ended now, or no rank has said so."""
    result = _ended_now(stage, state, attempts)
    if result is None or not isinstance(result.outcome, Failed) or result.outcome.rank is None:
        return ""
    rank, lines = result.outcome.rank, last_that_fit(result.outcome.lines, LIMIT)
    return "\n".join([f"rank {rank}, at last:", *lines]) if lines else f"rank {rank}"


def _ended_now(stage: RunStage, state: Pending | Ended | Published, attempts: Attempts) -> Result | None:
    """Of the attempt that failed the run, or is made again."""
    if isinstance(state, Ended) and state.failure is None:
        return state.result
    exhausted = isinstance(state, Ended) and state.failure is Failure.RETRIES_EXHAUSTED
    again = isinstance(state, Pending) and state.reason == Waiting.RETRYING
    newest = attempts.newest(stage.task) if isinstance(stage, JobStage) and (exhausted or again) else None
    return newest.state.result if newest and isinstance(newest.state, Ended) else None
