"""The stages of a run, in their order: one file each."""

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.stage.attempts import Attempts
from wardrobe.stage.stage import Stage
from wardrobe_contracts.base import Method

from .assess import ASSESS
from .check import CHECK
from .imports import IMPORT
from .new_base import NewBase
from .publish import Publish
from .release import RELEASE
from .stage import JobStage, RunStage
from .train import TRAIN

TO_AN_ADAPTER: tuple[RunStage, ...] = (CHECK, TRAIN, ASSESS, Publish())
WITHOUT_TRAINING: tuple[RunStage, ...] = (CHECK, IMPORT, ASSESS, Publish())
TO_A_BASE: tuple[RunStage, ...] = (CHECK, TRAIN, RELEASE, NewBase())


def stages_of(run: FineTuneJobResource) -> tuple[RunStage, ...]:
    """By what the method makes, and of what."""
    match run.spec.method:
        case Method.FULL:
            return TO_A_BASE
        case Method.IMPORT:
            return WITHOUT_TRAINING
    return TO_AN_ADAPTER


def jobs_of(run: FineTuneJobResource) -> tuple[Stage, ...]:
    """Those that are Jobs."""
    return tuple(stage for stage in stages_of(run) if isinstance(stage, JobStage))


def stage_of(run: FineTuneJobResource, attempts: Attempts) -> RunStage:
    """Where the run is: at the first stage that is not over."""
    return first_open(stages_of(run), run, attempts)


def first_open(stages: tuple[RunStage, ...], run: FineTuneJobResource, attempts: Attempts) -> RunStage:
    """The first of these that is not over, whether or not it is a Job. The last one never is."""
    return next(stage for stage in stages if not stage.is_over(run, attempts))


def last_job(stages: tuple[RunStage, ...], current: RunStage) -> Stage:
    """The current stage, or the nearest before it that is a Job: the first one is."""
    so_far = stages[: stages.index(current) + 1]
    return next(stage for stage in reversed(so_far) if isinstance(stage, JobStage))
