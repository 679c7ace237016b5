"""Whether a server of MLflow has what there is of a run, and under which id: a condition, and a part of the status.

From what tasks said when they ended, which the record has, and from what was pulled of the attempt that runs. An id
that was known once and that nobody says now (its attempt was lost unheard) is kept.
"""

from collections.abc import Iterator

from wardrobe.api.finetunejob import (
    FineTuneJobResource,
    MlflowRun,
    MlflowStatus,
    ProgressStatus,
    TrackingProgress,
    TrackingStatus,
)
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.plan.conditions import Fact
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts.base import Task
from wardrobe_contracts.tracking import Tracked, TrackingFault

AFTER_TRAINING: tuple[Task, ...] = ("assess", "release")


def condition(
    run: FineTuneJobResource, pulled: ProgressStatus | None, attempts: Attempts, *, ended: bool
) -> Fact | None:
    """None where the run is not to be tracked. `pulled` is what the attempt says that runs, `ended` whether the run
    has."""
    wanted, mark = run.spec.mlflow, ConditionType.TRACKED
    if wanted is None:
        return None
    newest = next(_said(pulled, attempts), None)
    if newest is None:
        first = "assessing" if run.spec.adapter else "training"
        waits = f"the run ended before {first}" if ended else f"it begins with {first}"
        return Fact(mark, "Unknown", Waiting.NOT_TRACKED_YET, waits)
    if newest.fault is None:
        return Fact(mark, "True", Done.TRACKED, f"experiment {wanted.experiment} has it as run {newest.run_id}")
    goes_on = "Nothing is tried any more" if ended else "The run goes on; what the server lacks is sent again"
    return Fact(mark, "False", newest.fault.reason.value, f"{newest.fault.message} {goes_on}")


def status(run: FineTuneJobResource, pulled: ProgressStatus | None, attempts: Attempts) -> TrackingStatus | None:
    """The run's id at the server; None before it is known."""
    wanted = run.spec.mlflow
    if wanted is None:
        return None
    known = next((found for found in _said(pulled, attempts) if found.run_id), None)
    if known is None or known.run_id is None:
        return run.status.tracking
    url = f"{wanted.uri.rstrip('/')}/#/experiments/{known.experiment_id}/runs/{known.run_id}"
    return TrackingStatus(mlflow=MlflowStatus(run_id=known.run_id, url=url))


def lineage(run: FineTuneJobResource, attempts: Attempts) -> MlflowRun | None:
    """As the Adapter says it."""
    wanted = run.spec.mlflow
    found = status(run, None, attempts)
    if wanted is None or found is None:
        return None
    return MlflowRun(uri=wanted.uri, experiment=wanted.experiment, run_id=found.mlflow.run_id)


def _said(pulled: ProgressStatus | None, attempts: Attempts) -> Iterator[Tracked]:
    """The newest word first; of pods that had not come so far, none."""
    words = [word for task in AFTER_TRAINING for word in _of_task(task, attempts)]
    words += [_as_pulled(pulled.tracking)] if pulled and pulled.tracking else []
    words += _of_task("train", attempts)
    yield from (word for word in words if word.run_id or word.fault)


def _of_task(task: Task, attempts: Attempts) -> Iterator[Tracked]:
    ended = attempts.ended(task)
    for number in sorted(ended, reverse=True):
        if tracked := ended[number].result.tracked:
            yield tracked


def _as_pulled(found: TrackingProgress) -> Tracked:
    reason = found.reason
    fault = None if reason is None else TrackingFault.model_validate({"reason": reason, "message": found.message or ""})
    return Tracked(run_id=found.run_id, experiment_id=found.experiment_id, fault=fault)
