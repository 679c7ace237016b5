"""Train: one Job per attempt, each in a folder of its own."""

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase
from wardrobe.run.orders import CHECK_FOLDER, attempt_folder, method, schedule
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.training import TrainConfig, TrainingSummary

from .stage import JobStage, Words, Work


def _work(run: FineTuneJobResource, attempts: Attempts, base: ReadyBase, number: int) -> Work:
    """In a folder of its own, or in that of the attempt whose work is done and whose result is lost."""
    order = TrainConfig(
        base=base.location,
        data_folder=CHECK_FOLDER,
        train_digest=attempts.found(CheckReport).payload.train_digest,
        output_folder=attempt_folder(attempts.known().begun_at(TRAIN.task, number)),
        method=method(run),
        schedule=schedule(run),
        accelerator=run.spec.parallelism.accelerator,
    )
    return Work(order)


def _came_to(_: TrainingSummary, attempt: int) -> str:
    return f"attempt {attempt} trained to the end"


TRAIN = JobStage(
    task="train",
    more_memory="Raise spec.pod.resources.limits.memory",
    works_on=(CheckReport,),
    brings=TrainingSummary,
    words=Words(ConditionType.TRAINED, "training", Done.TRAINED, Waiting.TRAINING),
    work=_work,
    came_to=_came_to,
    reports_progress=True,
)
