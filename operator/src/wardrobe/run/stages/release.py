"""Release: base and new model on the held-out rows, and the model's files in the store under their digest."""

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase
from wardrobe.manifests import volumes
from wardrobe.run.orders import CHECK_FOLDER, attempt_folder, origin
from wardrobe.run.seen import Seen
from wardrobe.run.tracking import credentials, tracking
from wardrobe_contracts import paths, training
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.release import Release, ReleaseConfig
from wardrobe_contracts.training import TrainingSummary

from .stage import JobStage, Words, Work
from .train import TRAIN


def _work(run: FineTuneJobResource, seen: Seen, base: ReadyBase, _: int) -> Work:
    attempts = seen.attempts
    checked, trained = attempts.found(CheckReport), attempts.found(TrainingSummary)
    trained_in = attempt_folder(attempts.known().begun_at(TRAIN.task, trained.number))
    order = ReleaseConfig(
        run=run.run,
        base=base.location,
        base_reference=base.reference,
        data_folder=CHECK_FOLDER,
        heldout_digest=checked.payload.heldout_digest,
        heldout_tokens_digest=checked.payload.heldout_tokens_digest,
        candidate_folder=f"{trained_in}/{training.MODEL_FOLDER}",
        models_folder=paths.NEW_MODELS,
        output_folder=f"{paths.RUN}/release",
        max_rows=run.spec.evaluation.max_rows,
        lineage=origin(run, checked.payload, trained.payload),
        accelerator=run.spec.parallelism.accelerator,
        tracking=tracking(run, base, checked.payload),
    )
    return Work(
        order,
        (volumes.new_models(run.spec.new_base),),
        accelerators=run.spec.parallelism.processes_per_node,  # as while it assesses
        credentials=credentials(run),
    )


RELEASE = JobStage(
    task="release",
    more_memory="Raise spec.pod.resources.limits.memory",
    brings=Release,
    words=Words(ConditionType.PUBLISHED, "assessing", Done.PUBLISHED, Waiting.ASSESSING),
    work=_work,
)
