"""The stages of a run, in their order: one file each."""

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.stage.attempts import Attempts
from wardrobe.stage.stage import Stage
from wardrobe_contracts.base import Method

from .assess import ASSESS
from .check import CHECK
from .new_base import NewBase
from .publish import Publish
from .release import RELEASE
from .stage import JobStage, RunStage
from .train import TRAIN

TO_AN_ADAPTER: tuple[RunStage, ...] = (CHECK, TRAIN, ASSESS, Publish())
TO_A_BASE: tuple[RunStage, ...] = (CHECK, TRAIN, RELEASE, NewBase())


def stages_of(run: FineTuneJobResource) -> tuple[RunStage, ...]:
    """By what the method makes."""
    return TO_A_BASE if run.spec.method is Method.FULL else TO_AN_ADAPTER


def jobs_of(run: FineTuneJobResource) -> tuple[Stage, ...]:
    """Those that are Jobs."""
    return tuple(stage for stage in stages_of(run) if isinstance(stage, JobStage))


def stage_of(run: FineTuneJobResource, attempts: Attempts) -> RunStage:
    """Where the run is: at the first stage that is not over."""
    return next(stage for stage in stages_of(run) if not stage.is_over(run, attempts))
