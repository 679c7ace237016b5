"""The stages of a run, in their order: one file each."""

from .assess import ASSESS
from .check import CHECK
from .publish import Publish
from .stage import JobStage, RunStage
from .train import TRAIN

STAGES: tuple[RunStage, ...] = (CHECK, TRAIN, ASSESS, Publish())

JOBS = tuple(stage for stage in STAGES if isinstance(stage, JobStage))
"""Those that are Jobs."""
