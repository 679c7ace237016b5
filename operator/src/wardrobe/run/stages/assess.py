"""Assess: base and adapter on the held-out rows, and the adapter's files in the store under their digest."""

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase
from wardrobe.manifests import volumes
from wardrobe.run.orders import CHECK_FOLDER, attempt_folder, lora, origin, quantization
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts import paths, training
from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.manifest import Lineage
from wardrobe_contracts.training import TrainingSummary

from .stage import JobStage, Words, Work
from .train import TRAIN


def _work(run: FineTuneJobResource, attempts: Attempts, base: ReadyBase, _: int) -> Work:
    checked, trained = attempts.found(CheckReport), attempts.found(TrainingSummary)
    trained_in = attempt_folder(attempts.known().begun_at(TRAIN.task, trained.number))
    order = AssessConfig(
        run=run.run,
        line=run.spec.line,
        base=base.location,
        base_reference=base.reference,
        data_folder=CHECK_FOLDER,
        heldout_digest=checked.payload.heldout_digest,
        candidate_folder=f"{trained_in}/{training.ADAPTER_FOLDER}",
        line_folder=paths.LINE,
        output_folder=f"{paths.RUN}/assess",
        variants=base.variants,
        lineage=_lineage(run, checked.payload, trained.payload),
        accelerator=run.spec.parallelism.accelerator,
    )
    return Work(order, (volumes.line(run.spec.line),))


def _lineage(run: FineTuneJobResource, report: CheckReport, summary: TrainingSummary) -> Lineage:
    settings = {"method": run.spec.method, "lora": lora(run), "quantization": quantization(run)}
    return Lineage.model_validate({**dict(origin(run, report, summary)), **settings})


ASSESS = JobStage(
    task="assess",
    more_memory="Raise spec.pod.resources.limits.memory",
    brings=Assessment,
    words=Words(ConditionType.PUBLISHED, "assessing", Done.PUBLISHED, Waiting.ASSESSING),
    work=_work,
)
