"""A run's stages in their order. One that is no Job may stand anywhere behind the first, and runs go on past it."""

from functools import reduce

from support import resources, results

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.reasons import ConditionType, Done
from wardrobe.run.seen import Seen
from wardrobe.run.stages import first_open, last_job
from wardrobe.run.stages.check import CHECK
from wardrobe.run.stages.publish import Publish
from wardrobe.run.stages.stage import RunStage, RunStep, Wants, Words
from wardrobe.run.stages.train import TRAIN
from wardrobe.settings import Settings
from wardrobe.stage.advance import Step
from wardrobe.stage.attempt import Pending
from wardrobe.stage.attempts import Attempts, Owner
from wardrobe.stage.record import Record
from wardrobe_contracts.base import Task
from wardrobe_contracts.check import CheckReport

RUN = FineTuneJobResource.parse(resources.stored(resources.run("heart")))


class MemoryPlan:
    """A stage that only computes: over once the checked rows fit."""

    words = Words(ConditionType.DATASET_CHECKED, "planning", Done.CHECKED)
    reports_progress = False

    def __init__(self, rows_that_fit: int) -> None:
        self._rows_that_fit = rows_that_fit

    def is_over(self, run: FineTuneJobResource, attempts: Attempts) -> bool:
        return attempts.found(CheckReport).payload.rows <= self._rows_that_fit

    def wants(self, run: FineTuneJobResource, attempts: Attempts) -> Wants:
        return Wants()

    def step(self, run: FineTuneJobResource, seen: Seen, settings: Settings) -> RunStep:
        return Step(Pending("DoesNotFit", "too many rows"))

    def message(self, attempts: Attempts) -> str:
        return "it fits"


def stages(rows_that_fit: int) -> tuple[RunStage, ...]:
    return (CHECK, MemoryPlan(rows_that_fit), TRAIN, Publish())


def after(*done: Task) -> Attempts:
    """Attempts of a run whose Jobs are gone: each of these tasks was done at its first attempt."""
    record = reduce(lambda made, task: made.ended(task, 1, results.success(task)), done, Record())
    return Attempts(Owner("FineTuneJob", RUN.metadata, "heart", (CHECK, TRAIN)), resources.TIME, record=record)


def test_a_stage_that_is_no_job_stands_between_two_that_are() -> None:
    checked = after("check")
    fits, too_many = stages(results.REPORT.rows), stages(results.REPORT.rows - 1)
    assert first_open(fits, RUN, after()) is CHECK
    assert first_open(too_many, RUN, checked) is too_many[1]
    assert first_open(fits, RUN, checked) is TRAIN
    assert first_open(fits, RUN, after("check", "train")) is fits[-1]


def test_what_stops_a_run_at_such_a_stage_is_told_of_the_job_before_it() -> None:
    made = stages(0)
    assert [last_job(made, stage) for stage in made] == [CHECK, CHECK, TRAIN, TRAIN]


def test_what_an_attempt_has_said_is_read_once() -> None:
    checked = after("check")
    first, second = checked.success(CheckReport), checked.success(CheckReport)
    assert first is not None
    assert second is not None
    assert first.payload is second.payload
