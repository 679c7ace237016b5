"""The stages of a run, in their order: one file each."""

from wardrobe.stage.attempts import Attempts

from .assess import ASSESS
from .check import CHECK
from .publish import Publish
from .stage import JobStage, RunStage, is_due
from .train import TRAIN

STAGES: tuple[RunStage, ...] = (CHECK, TRAIN, ASSESS, Publish())

JOBS = tuple(stage for stage in STAGES if isinstance(stage, JobStage))
"""Those that are Jobs."""


def stage_of(attempts: Attempts) -> RunStage:
    """Where the run is: at the last stage that is due."""
    return next(stage for stage in reversed(STAGES) if is_due(stage, attempts))
