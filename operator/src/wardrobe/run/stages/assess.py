"""Assess: base and adapter on the held-out rows, and the adapter's files in the store under their digest."""

from functools import partial

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase
from wardrobe.manifests import volumes
from wardrobe.run.orders import CHECK_FOLDER, attempt_folder, lora, quantization, schedule
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts import paths, training
from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.base import Digest
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.manifest import BaseReference, Lineage
from wardrobe_contracts.training import TrainingSummary

from .stage import Give, JobStage, Words, Work
from .train import TRAIN


def _work(run: FineTuneJobResource, attempts: Attempts) -> Give | None:
    checked, trained = attempts.success(CheckReport), attempts.success(TrainingSummary)
    if checked is None or trained is None:
        return None
    attempt = attempts.known().begun_at(TRAIN.task, trained.number)
    candidate = f"{attempt_folder(attempt)}/{training.ADAPTER_FOLDER}"
    lineage = _lineage(run, checked.payload, trained.payload)
    return partial(_assess, run, checked.payload.heldout_digest, candidate, lineage)


def _assess(
    run: FineTuneJobResource, heldout_digest: Digest, candidate: str, lineage: Lineage, base: ReadyBase, *_: int
) -> Work:
    """Of what lies in the candidate's folder."""
    order = AssessConfig(
        run=run.run,
        line=run.spec.output.adapter,
        base=base.location,
        base_reference=BaseReference(
            name=base.name, digest=base.digest, chat_template_digest=base.chat_template_digest
        ),
        data_folder=CHECK_FOLDER,
        heldout_digest=heldout_digest,
        candidate_folder=candidate,
        line_folder=paths.LINE,
        output_folder=f"{paths.RUN}/assess",
        variants=base.variants,
        lineage=lineage,
        accelerator=run.spec.parallelism.accelerator,
    )
    return Work(order, (volumes.line(run.spec.output.adapter),))


def _lineage(run: FineTuneJobResource, report: CheckReport, summary: TrainingSummary) -> Lineage:
    return Lineage(
        job=run.metadata.name,
        job_uid=run.metadata.uid,
        dataset_source=run.spec.dataset.source,
        dataset_digest=report.dataset_digest,
        train_rows=report.train_rows,
        heldout_rows=report.heldout_rows,
        method=run.spec.method,
        lora=lora(run),
        quantization=quantization(run),
        schedule=schedule(run),
        packages=summary.packages,
    )


ASSESS = JobStage(
    task="assess",
    more_memory="Raise spec.pod.resources.limits.memory",
    brings=Assessment,
    words=Words(ConditionType.PUBLISHED, "assessing", Done.PUBLISHED, Waiting.ASSESSING),
    work=_work,
)
