"""The status of a FineTuneJob: from how far its run has come, to conditions, columns and numbers."""

from dataclasses import dataclass
from enum import IntEnum

from wardrobe.api.finetunejob import DatasetStatus, FineTuneJobResource, FineTuneJobStatus, ProgressStatus
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.base import Method, Variant
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.manifest import Evaluation

from . import tasks
from .conditions import Fact, conditions, kstatus
from .tasks import Ended, Pending


class Stage(IntEnum):
    """The steps of a run, in order."""

    CHECK = 0
    TRAIN = 1
    ASSESS = 2
    DONE = 3


@dataclass(frozen=True)
class _Words:
    """How a stage is said."""

    condition: ConditionType
    now: Waiting
    doing: str
    done: Done


_WORDS = {
    Stage.CHECK: _Words(ConditionType.DATASET_CHECKED, Waiting.CHECKING, "checking the dataset", Done.CHECKED),
    Stage.TRAIN: _Words(ConditionType.TRAINED, Waiting.TRAINING, "training", Done.TRAINED),
    Stage.ASSESS: _Words(ConditionType.PUBLISHED, Waiting.ASSESSING, "assessing", Done.PUBLISHED),
}


@dataclass(frozen=True)
class Reached:
    """How far a run is: everything before `stage` succeeded, `state` is how `stage` stands (None when done)."""

    stage: Stage
    state: Pending | Ended | None
    attempts: int = 0
    report: CheckReport | None = None
    assessment: Assessment | None = None
    adapter: str | None = None


def status(run: FineTuneJobResource, reached: Reached, now: str) -> FineTuneJobStatus:
    """The whole status; while training runs, the progress that was pulled meanwhile is left as it is."""
    top = _top(reached)
    facts = [top, *(_stage_fact(stage, reached) for stage in _WORDS), *kstatus(top)]
    return FineTuneJobStatus(
        observed_generation=run.metadata.generation,
        conditions=conditions(run.status, facts, run.metadata.generation, now),
        run=run.run,
        attempts=reached.attempts,
        adapter=reached.adapter,
        score=_score(run, reached.assessment),
        dataset=_dataset(reached.report),
        progress=_progress(run, reached),
    )


def _top(reached: Reached) -> Fact:
    if reached.stage is Stage.DONE:
        message = f"Adapter {reached.adapter} is published"
        return Fact(ConditionType.SUCCEEDED, "True", Done.SUCCEEDED, message)
    fact = _current(reached)
    words = _WORDS[reached.stage]
    reason = words.now if fact.reason == Waiting.RUNNING else fact.reason
    return Fact(ConditionType.SUCCEEDED, fact.status, reason, f"{words.doing}: {fact.message}")


def _stage_fact(stage: Stage, reached: Reached) -> Fact:
    words = _WORDS[stage]
    if stage < reached.stage:
        return Fact(words.condition, "True", words.done, _done_message(stage, reached))
    if stage > reached.stage:
        waits_for = _WORDS[Stage(stage - 1)].condition
        return Fact(words.condition, "Unknown", Waiting.PENDING, f"waits for {waits_for}")
    return _current(reached)


def _current(reached: Reached) -> Fact:
    condition = _WORDS[reached.stage].condition
    if isinstance(reached.state, Pending):
        return Fact(condition, "Unknown", reached.state.reason, reached.state.message)
    if reached.state is None:
        raise ValueError(f"a run at {reached.stage.name} has a state")
    reason, message = tasks.failure_reason(reached.state), tasks.failure_message(reached.state.result)
    return Fact(condition, "False", reason, message)


def _done_message(stage: Stage, reached: Reached) -> str:
    match stage:
        case Stage.CHECK if reached.report:
            report = reached.report
            return f"{report.train_rows} rows to train on, {report.heldout_rows} held out"
        case Stage.TRAIN:
            return f"attempt {reached.attempts} trained to the end"
        case _:
            return f"published as {reached.adapter}"


def _dataset(report: CheckReport | None) -> DatasetStatus | None:
    if report is None:
        return None
    return DatasetStatus(
        digest=report.dataset_digest,
        rows=report.rows,
        train_rows=report.train_rows,
        heldout_rows=report.heldout_rows,
        dropped_rows=report.dropped_rows,
        truncated_rows=report.truncated_rows,
        warnings=report.warnings,
    )


def _progress(run: FineTuneJobResource, reached: Reached) -> ProgressStatus:
    if reached.stage is Stage.DONE:
        return ProgressStatus(summary="done")
    words = _WORDS[reached.stage]
    if isinstance(reached.state, Ended):
        return ProgressStatus(summary=f"failed {words.doing}")
    running = isinstance(reached.state, Pending) and reached.state.reason == Waiting.RUNNING
    pulled = run.status.progress
    if reached.stage is Stage.TRAIN and running and pulled and pulled.stage:
        return pulled
    return ProgressStatus(summary=words.doing if running else f"waiting: {words.doing}")


def _score(run: FineTuneJobResource, assessment: Assessment | None) -> str | None:
    if assessment is None:
        return None
    return score(assessment.evaluations, run.spec.method)


def score(evaluations: list[Evaluation], method: Method) -> str:
    """`4.07 → 2.48 (-39 %)`: held-out loss of base and candidate, on the variant that the run trained on."""
    shown = next((found for found in evaluations if found.variant is trained_on(method)), evaluations[0])
    return phrase(shown.whole.base.loss, shown.whole.candidate.loss)


def trained_on(method: Method | None) -> Variant:
    """The variant whose scores stand for a run; an import, whose method nobody knows, is shown on the plain base."""
    return Variant.NF4 if method is Method.QLORA else Variant.NONE


def phrase(base: float, candidate: float) -> str:
    """Two losses and their relative difference."""
    change = (candidate - base) / base if base else 0.0
    return f"{base:.2f} → {candidate:.2f} ({change:+.0%})"
