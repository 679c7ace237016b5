"""What a person says of a run's time: that it is suspended, how long its Jobs may take, how long it is kept."""

from wardrobe.api.finetunejob import FineTuneJobResource, FineTuneJobStatus
from wardrobe.api.reasons import ConditionType, Failure, Waiting
from wardrobe.plan.conditions import seconds_between
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS
from wardrobe.plan.plan import RESYNC_SECONDS
from wardrobe.stage import endings
from wardrobe.stage.advance import Step, stop
from wardrobe.stage.attempt import Ended, Pending
from wardrobe.stage.attempts import Attempts
from wardrobe.stage.stage import Stage
from wardrobe.writes import Create
from wardrobe_contracts.exits import ExitCode, Reason

from .seen import Seen
from .stages import last_job, stages_of
from .stages.stage import RunStage, RunStep

NOT_RUNNING = {Waiting.QUEUED, Waiting.QUEUE_UNUSABLE, Waiting.SUSPENDED}
"""While it waits so, its time does not count."""
OF_THE_RECORD = {Waiting.NAME_TAKEN, Waiting.RECORD_UNREADABLE}
"""What forbids to write why a Job was stopped."""


def to_stop(run: FineTuneJobResource, now: str) -> bool:
    """Whether its Jobs may have to end, as far as the run itself says; its record may say so, too."""
    return run.spec.suspend or _time_is_over(run, now)


def hold(run: FineTuneJobResource, stage: RunStage, seen: Seen, step: RunStep, now: str) -> RunStep:
    """The step that the stage wants; or, where it would go on and may not, the one that stops its Jobs."""
    if not isinstance(step.state, Pending):
        return step
    job_stage = last_job(stages_of(run), stage)
    counts = step.state.reason not in NOT_RUNNING
    over = seen.attempts.record.overdue is not None or (counts and _time_is_over(run, now))
    if not over and not run.spec.suspend:
        return step
    if seen.missing is not None and seen.missing.reason in OF_THE_RECORD:
        return Step(Pending(seen.missing.reason, seen.missing.message, look_again=LOOK_AGAIN_SECONDS))
    return _end(run, job_stage, seen.attempts, now) if over else _suspend(job_stage, seen.attempts)


def start_time(run: FineTuneJobResource, step: RunStep, attempts: Attempts) -> str | None:
    """Since when its Jobs may run; of a wiped status, since when the newest does."""
    if not isinstance(step.state, Pending) or step.state.reason in NOT_RUNNING:
        return None
    if run.status.start_time:
        return run.status.start_time
    if any(isinstance(write, Create) and write.manifest["kind"] == "Job" for write in step.writes):
        return attempts.now
    unfinished = [found for found in attempts.there if isinstance(found.state, Pending) and not found.deleting]
    return next((found.started or attempts.now for found in unfinished), None)


def deadline_in(run: FineTuneJobResource, status: FineTuneJobStatus, now: str) -> float | None:
    """Seconds until its time is over; None where it has no end, or does not count now."""
    if run.spec.active_deadline_seconds is None or status.start_time is None:
        return None
    return run.spec.active_deadline_seconds - seconds_between(status.start_time, now)


def _time_is_over(run: FineTuneJobResource, now: str) -> bool:
    left = deadline_in(run, run.status, now)
    return left is not None and left <= 0


def expires_in(run: FineTuneJobResource, status: FineTuneJobStatus, now: str) -> float | None:
    """Seconds until a run that has ended is deleted; None where it is kept."""
    top = status.condition(ConditionType.SUCCEEDED)
    if run.spec.ttl_seconds_after_finished is None or top is None or top.status == "Unknown":
        return None
    return max(0.0, run.spec.ttl_seconds_after_finished - seconds_between(top.last_transition_time, now))


def _suspend(stage: Stage, attempts: Attempts) -> RunStep:
    busy = attempts.occupied()
    stands = f"{busy[0]} is told to stop, and may still save" if busy else f"no Job runs{_saved(stage, attempts)}"
    message = f"spec.suspend is true: {stands}. To go on, set spec.suspend to false"
    look_again = (busy[1] or RESYNC_SECONDS) if busy else None
    writes = stop(attempts, attempts.known(), Waiting.SUSPENDED)
    return Step(Pending(Waiting.SUSPENDED, message, look_again=look_again), writes)


def _end(run: FineTuneJobResource, stage: Stage, attempts: Attempts, now: str) -> RunStep:
    """The run has ended when nothing of it runs any more: until then it may still save, or even be done."""
    writes, busy = stop(attempts, attempts.known().over(now), Failure.DEADLINE_EXCEEDED), attempts.occupied()
    field = f"spec.activeDeadlineSeconds is {run.spec.active_deadline_seconds}: the run's Jobs had that long"
    if busy:
        message = f"{field}; {busy[0]} is told to stop, and may still save"
        return Step(Pending(Failure.DEADLINE_EXCEEDED, message, look_again=busy[1]), writes)
    message = (
        f"{field}{_saved(stage, attempts)}. Create a new FineTuneJob with a longer activeDeadlineSeconds or less to "
        "do; it begins anew"
    )
    result = endings.ending(stage.task, ExitCode.PREEMPTED, Reason.TERMINATED, message)
    return Step(Ended(result, recorded=True, failure=Failure.DEADLINE_EXCEEDED), writes)


def _saved(stage: Stage, attempts: Attempts) -> str:
    """How far a stage that saves has done so, where its pods have said it."""
    reached = [found.result.reached for found in attempts.ended(stage.task).values()] if stage.saves else []
    steps = max((found.saved for found in reached if found), default=None)
    return "" if steps is None else f"; {steps} steps of training are saved"
