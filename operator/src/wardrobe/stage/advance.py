"""The next step of a stage that is a Job: whose turn it is, and the writes that make that attempt."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from wardrobe.api.reasons import Failure, Waiting
from wardrobe.plan.conditions import seconds_between
from wardrobe.writes import Apply, Create, Delete, Write
from wardrobe_contracts.base import Task
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result

from . import endings
from .attempt import Attempt, Ended, Lost, Pending
from .attempts import Attempts
from .job import Made
from .record import BEGUN, Record
from .stage import Retries, Stage

MAY_COME_AND_GO = {ExitCode.OUT_OF_MEMORY, ExitCode.UNKNOWN, ExitCode.ACCELERATOR}
"""Ends of the work itself that another try may not come to; wrong settings, data or bases stay wrong."""

State_co = TypeVar("State_co", covariant=True)


@dataclass(frozen=True)
class Step(Generic[State_co]):
    """How a stage stands, and the writes that carry it on."""

    state: State_co
    writes: tuple[Write, ...] = ()


JobStep = Step[Pending | Ended]


@dataclass(frozen=True)
class Turn:
    """It is the turn of attempt `number` (from 1), after one that infrastructure took."""

    number: int = 1
    before: Attempt | None = None
    lost: Result | None = None
    """How the one before ended."""


def turn(attempts: Attempts, stage: Stage, retries: Retries | None = None) -> Turn | JobStep:
    """Which attempt is to be made; or how the stage stands, where none is. `retries` may be the person's own."""
    retries = retries or stage.retries
    newest = attempts.newest(stage.task)
    if newest is None:
        return Turn()
    stands = newest.state
    if isinstance(stands, Pending):
        return Step(stands)
    if isinstance(stands, Lost):
        words = (Reason.UNKNOWN, "the Job's pod went before its result was read")
        stands = Ended(endings.ending(stage.task, ExitCode.UNKNOWN, *words), recorded=True)
    code = stands.result.exit_code
    if isinstance(newest.state, Lost) or code.infrastructure:
        lost = newest.number - _failures(attempts, stage.task) - len(attempts.stopped(stage.task))
        if lost > retries.most:
            return _exhausted(attempts, lost, stands)
    elif code not in MAY_COME_AND_GO or _failures(attempts, stage.task) > retries.failures:
        return Step(stands)
    return Turn(newest.number + 1, newest, stands.result)


def take(attempts: Attempts, stage: Stage, turn: Turn, job: Made) -> JobStep:
    """Make the attempt as `job`, after a pause where one was lost: what took that may take a while to be mended."""
    if turn.before is None or turn.lost is None or turn.before.number in attempts.stopped(stage.task):
        return _make(attempts, stage, turn.number, job)
    message = f"attempt {turn.before.number} was lost ({turn.lost.message}); attempt {turn.number}"
    idle = _without_progress(attempts, stage.task)
    at_once = isinstance(turn.before.state, Lost) or turn.before.suspended or not idle
    pause = 0.0 if at_once else stage.retries.pause(idle)
    left = pause - _seconds_since_end(turn.before, attempts.now) if pause else 0.0
    if left > 0:
        return Step(Pending(Waiting.RETRYING, f"{message} begins in {left:.0f} s", look_again=left))
    step = _make(attempts, stage, turn.number, job)
    if isinstance(step.state, Pending) and step.state.reason == Waiting.RUNNING:
        return Step(Pending(Waiting.RETRYING, f"{message} is being made"), step.writes)
    return step


def _failures(attempts: Attempts, task: Task) -> int:
    """How many attempts ended by themselves, and not well."""
    codes = [found.result.exit_code for found in attempts.ended(task).values()]
    return sum(code is not ExitCode.SUCCEEDED and not code.infrastructure for code in codes)


def _without_progress(attempts: Attempts, task: Task) -> int:
    """How many attempts in a row came no further: they saved nothing that the next one could go on from."""
    idle, stopped = 0, attempts.stopped(task)
    for number, found in reversed(attempts.ended(task).items()):
        reached = found.result.reached
        if reached is not None and reached.saved > reached.resumed:
            break
        idle += number not in stopped
    return idle


def _exhausted(attempts: Attempts, lost: int, last: Ended) -> JobStep:
    message = f"{lost} attempts were lost to the infrastructure; the last: {last.result.message}"
    result = endings.ending(last.result.task, last.result.exit_code, last.result.reason, message)
    return Step(Ended(result, last.recorded, Failure.RETRIES_EXHAUSTED), _give_up(attempts))


def stop(attempts: Attempts, record: Record, mark: Waiting | Failure) -> tuple[Write, ...]:
    """Delete the Jobs that have not ended; why is written first, to `record`, which is as it is known.

    They stay until their pods are gone, which are told to stop, save, and say so. Suspending a Job would not do: a
    queue that manages it would let it in again.
    """
    stoppable = [found for found in attempts.there if found.could_start]
    for found in stoppable:
        if isinstance(found.state, Pending):
            record = record.marked(found.task, found.number, mark)
    return (*attempts.put(record), *(Delete(found.key, found.uid, foreground=True) for found in stoppable))


def _make(attempts: Attempts, stage: Stage, number: int, job: Made) -> JobStep:
    """Make an attempt, once nothing of the run can run beside it.

    A number that stands in the record is used up; so it is taken back where the API refuses the Job.
    """
    if given_up := _give_up(attempts):
        message = f"attempt {number} is made when the Jobs that were given up before it are gone"
        return Step(Pending(Waiting.RETRYING, message), given_up)
    if other := attempts.occupied():
        name, look_again = other
        message = f"attempt {number} is made when {name} has ended"
        return Step(Pending(Waiting.RETRYING, message, look_again=look_again))
    begun = attempts.put(attempts.known().marked(stage.task, number, BEGUN))
    create = Create(job.job, if_refused=attempts.unmark(stage.task, number))
    beside = (Apply(manifest) for manifest in job.beside)
    return Step(Pending(Waiting.RUNNING, f"Job {job.job['metadata']['name']}"), (*beside, *begun, create))


def _give_up(attempts: Attempts) -> tuple[Write, ...]:
    """Delete what has ended and could still start pods, such as a suspended Job; how it ended is written first."""
    stale = attempts.given_up()
    deletions = (Delete(found.key, found.uid) for found in stale)
    return (*attempts.put(attempts.known()), *deletions) if stale else ()


def _seconds_since_end(ended: Attempt, now: str) -> float:
    """Since the Job ended, by the control plane's clock: a node's may be hours wrong.

    It begins anew until the Job has ended, which follows its last pod within moments, unless that pod's node is not
    there: then since that was given up. For ever where nothing says when.
    """
    if ended.job is None:
        return float("inf")
    ends = ended.condition("Failed") or ended.condition("Complete")
    silent = (pod for pod in ended.pods if not endings.has_ended(pod))
    given_up = max((pod["metadata"].get("deletionTimestamp") or now for pod in silent), default=now)
    at: str | None = ends.get("lastTransitionTime") if ends else given_up
    return float("inf") if at is None else max(0.0, seconds_between(at, now))
