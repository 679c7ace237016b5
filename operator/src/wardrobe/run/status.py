"""The status of a FineTuneJob: from how far its run has come, to conditions, columns and numbers."""

from collections.abc import Sequence
from itertools import pairwise

from wardrobe.api import adapter, basemodel
from wardrobe.api.finetunejob import (
    AttemptStatus,
    DatasetStatus,
    FineTuneJobResource,
    FineTuneJobStatus,
    ProgressStatus,
    QuantizationSpec,
)
from wardrobe.api.reasons import ConditionType, Done, Failure, Waiting
from wardrobe.plan.conditions import Fact, conditions, kstatus
from wardrobe.plan.scores import phrase, trained_on
from wardrobe.stage.attempt import Ended, Pending
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.gate import Verdict
from wardrobe_contracts.manifest import Evaluation
from wardrobe_contracts.release import Release

from . import tracked
from .checkpointed import checkpointed
from .lifecycle import start_time
from .remarks import kept, remarks
from .stages import stages_of
from .stages.assess import ASSESS
from .stages.stage import JobStage, Published, RunStage, RunStep
from .stages.train import TRAIN

State = Pending | Ended | Published
PAUSED: dict[str, str] = {Waiting.SUSPENDED: "suspended", Failure.DEADLINE_EXCEEDED: "stopping"}
"""How the column says that a run does not go on."""
LISTED = 32
"""Attempts that a status shows: the newest."""


def status(run: FineTuneJobResource, stage: RunStage, step: RunStep, attempts: Attempts, now: str) -> FineTuneJobStatus:
    """The whole status of a run that is at `stage`; what was pulled of its progress meanwhile is left as it is."""
    state = step.state
    top = _top(run, stage, state, attempts)
    stages = stages_of(run)
    marks = dict.fromkeys(found.words.condition for found in stages)
    facts = [top, *(_mark(mark, stages, stage, state, attempts) for mark in marks), *kstatus(top)]
    pulled = _pulled(run, stage, state) if isinstance(state, Pending) else None
    if isinstance(stage, JobStage) and stage.saves and isinstance(state, Pending):
        facts.append(checkpointed(run, pulled, attempts))
    if told := tracked.condition(run, pulled, attempts, ended=not isinstance(state, Pending)):
        facts.append(told)
    tried = trials(attempts)
    return FineTuneJobStatus(
        observed_generation=run.metadata.generation,
        conditions=conditions(run.status, facts, run.metadata.generation, now),
        run=run.run,
        start_time=start_time(run, step, attempts),
        restarts=max(0, len(tried) - 1),
        attempts=tried[-LISTED:],
        goodput=_goodput(tried),
        adapter=_made(state, adapter.KIND),
        base_model=_made(state, basemodel.KIND),
        score=_score(run, attempts),
        verdict=_verdict(attempts),
        dataset=_dataset(attempts),
        tracking=tracked.status(run, pulled, attempts),
        progress=_progress(run, stage, state),
    )


def _top(run: FineTuneJobResource, stage: RunStage, state: State, attempts: Attempts) -> Fact:
    if isinstance(state, Published):
        message = f"{state.kind} {state.name} is published{remarks(attempts)}"
        return Fact(ConditionType.SUCCEEDED, "True", Done.SUCCEEDED, message)
    fact = _current(stage, state)
    reason = stage.words.running if fact.reason == Waiting.RUNNING else fact.reason
    message = f"{stage.words.doing}: {fact.message}"
    if isinstance(state, Ended) and stage is ASSESS:
        message += kept(run.run, state, attempts)
    return Fact(ConditionType.SUCCEEDED, fact.status, reason, message)


def _made(state: State, kind: str) -> str | None:
    return state.name if isinstance(state, Published) and state.kind == kind else None


def _mark(mark: ConditionType, stages: Sequence[RunStage], current: RunStage, state: State, attempts: Attempts) -> Fact:
    """A condition, which one stage tells or several one after another."""
    telling = [stage for stage in stages if stage.words.condition == mark]
    if current in telling:
        return _current(current, state)
    last = telling[-1]
    if stages.index(last) < stages.index(current):
        return Fact(mark, "True", last.words.done, last.message(attempts))
    before = next(one.words.condition for one, other in pairwise(stages) if other is telling[0])
    return Fact(mark, "Unknown", Waiting.PENDING, f"waits for {before}")


def _current(stage: RunStage, state: State) -> Fact:
    mark = stage.words.condition
    match state:
        case Pending():
            return Fact(mark, "Unknown", state.reason, state.message)
        case Ended():
            return Fact(mark, "False", state.reason, state.message)
        case Published():
            return Fact(mark, "True", stage.words.done, f"published as {state.name}")


def _dataset(attempts: Attempts) -> DatasetStatus | None:
    checked = attempts.success(CheckReport)
    if checked is None:
        return None
    report = checked.payload
    return DatasetStatus(
        digest=report.dataset_digest,
        validation_digest=report.validation_digest,
        rows=report.rows,
        train_rows=report.train_rows,
        train_examples=report.train_examples,
        heldout_rows=report.heldout_rows,
        heldout_share=f"{report.heldout_share:.3f}",
        dropped_rows=report.dropped_rows,
        left_out_rows=report.left_out_rows,
        truncated_rows=report.truncated_rows,
        warnings=report.warnings,
    )


def _progress(run: FineTuneJobResource, stage: RunStage, state: State) -> ProgressStatus:
    match state:
        case Published():
            return ProgressStatus(summary="done")
        case Ended():
            return ProgressStatus(summary=f"failed {stage.words.doing}")
        case Pending():
            running = state.reason == Waiting.RUNNING
            waiting = PAUSED.get(state.reason, "waiting")
            waits = ProgressStatus(summary=stage.words.doing if running else f"{waiting}: {stage.words.doing}")
            return _pulled(run, stage, state) or waits


def _pulled(run: FineTuneJobResource, stage: RunStage, state: Pending) -> ProgressStatus | None:
    """What was pulled of the attempt that runs."""
    found = run.status.progress
    says = stage.reports_progress and state.reason == Waiting.RUNNING and found and found.stage
    return found if says else None


def trials(attempts: Attempts) -> list[AttemptStatus]:
    """All attempts to train, as far as is known of them."""
    newest = attempts.newest(TRAIN.task)
    ended, known = attempts.ended(TRAIN.task), attempts.known()
    if newest is None:
        return []
    running = newest.number if isinstance(newest.state, Pending) else None
    marks = known.of(TRAIN.task)
    why = {number: marks[number] for number in marks if known.stopped(TRAIN.task, number)}
    numbers = range(1, newest.number + 1)
    return [_trial(number, ended.get(number), running, why.get(number)) for number in numbers]


def _trial(number: int, ended: Ended | None, running: int | None, why: str | None) -> AttemptStatus:
    """How it went; `why` it was stopped, if we did that."""
    if ended is None:
        return AttemptStatus(number=number, result="Running" if number == running else "Unknown")
    result, reached = ended.result, ended.result.reached
    reason = why or result.reason
    if reached is None:
        return AttemptStatus(number=number, result=result.exit_code.name, reason=reason)
    lost = 0 if result.succeeded else max(0, reached.step - reached.saved)
    return AttemptStatus(
        number=number,
        result=result.exit_code.name,
        reason=reason,
        steps=reached.step,
        resumed=reached.resumed,
        lost=lost,
    )


def _goodput(tried: list[AttemptStatus]) -> str | None:
    """Of the steps that were done, the share that did not have to be done again; None before any is known."""
    done = sum((found.steps or 0) - (found.resumed or 0) for found in tried)
    lost = sum(found.lost or 0 for found in tried)
    return f"{(done - lost) / done:.3f}" if done else None


def _score(run: FineTuneJobResource, attempts: Attempts) -> str | None:
    if released := attempts.success(Release):
        return score([released.payload.evaluation], None)
    assessed = attempts.success(Assessment)
    return score(assessed.payload.evaluations, run.spec.effective_quantization) if assessed else None


def _verdict(attempts: Attempts) -> Verdict | None:
    assessed = attempts.success(Assessment)
    return assessed.payload.verdict if assessed else None


def score(evaluations: list[Evaluation], quantization: QuantizationSpec | None) -> str:
    """`4.07 → 2.48 (-39 %)`: held-out loss of base and candidate, on the variant that the run trained on."""
    shown = next((found for found in evaluations if found.variant is trained_on(quantization)), evaluations[0])
    return phrase(shown.whole.base.loss, shown.whole.candidate.loss)
