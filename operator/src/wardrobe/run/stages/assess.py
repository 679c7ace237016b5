"""Assess: base and adapter on the held-out rows, and the adapter's files in the store under their digest."""

from dataclasses import dataclass

from wardrobe.api.finetunejob import FineTuneJobResource, FineTuneJobSpec
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase
from wardrobe.manifests import volumes
from wardrobe.plan.scores import trained_on
from wardrobe.run.orders import CHECK_FOLDER, IMPORT_FOLDER, attempt_folder, lora, origin, quantization
from wardrobe.run.seen import Seen
from wardrobe.run.serving import Serving
from wardrobe.run.tracking import credentials, tracking
from wardrobe_contracts import paths, training
from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.base import Variant
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.gate import GateRule
from wardrobe_contracts.imports import Imported
from wardrobe_contracts.manifest import AnyLineage, ImportLineage, Lineage
from wardrobe_contracts.training import TrainingSummary

from .stage import JobStage, Words, Work
from .train import TRAIN


def _work(run: FineTuneJobResource, seen: Seen, base: ReadyBase, _: int) -> Work:
    checked = seen.attempts.found(CheckReport).payload
    candidate = _imported(run, seen, checked) if run.spec.adapter else _trained(run, seen, checked)
    incumbents = seen.serving.of(base.digest)
    order = AssessConfig(
        run=run.run,
        line=run.spec.line,
        base=base.location,
        base_reference=base.reference,
        data_folder=CHECK_FOLDER,
        heldout_digest=checked.heldout_digest,
        heldout_tokens_digest=checked.heldout_tokens_digest,
        candidate_folder=f"{candidate.folder}/{training.ADAPTER_FOLDER}",
        line_folder=paths.LINE,
        scores_folder=paths.SCORES,
        output_folder=f"{paths.RUN}/assess",
        variants=variants(run.spec, base, seen.serving),
        max_rows=run.spec.evaluation.max_rows,
        incumbents=incumbents,
        gate=_gate(run),
        lineage=candidate.lineage,
        accelerator=run.spec.parallelism.accelerator,
        tracking=tracking(run, base, checked, candidate.imported),
    )
    return Work(
        order,
        (volumes.line(run.spec.line), volumes.scores(), *([volumes.store()] if incumbents else [])),
        accelerators=run.spec.parallelism.processes_per_node,  # over which a base is spread that one cannot hold
        credentials=credentials(run),
    )


def variants(spec: FineTuneJobSpec, base: ReadyBase, serving: Serving) -> list[Variant]:
    """As the run says; else what is trained on, and all that the base serves in or is to serve in.

    On what an import was trained nobody knows: where nothing else is asked for, it is measured on the base as stored.
    """
    others = {*base.variants, *serving.variants}
    trained = set() if spec.adapter and others else {trained_on(spec.effective_quantization)}
    return sorted(spec.evaluation.variants or others | trained, key=list(Variant).index)


def _gate(run: FineTuneJobResource) -> list[GateRule]:
    return [
        GateRule(metric=rule.metric, against=rule.against, max_regression=float(rule.max_regression))
        for rule in run.spec.evaluation.gate or []
    ]


@dataclass(frozen=True)
class _Candidate:
    """Where its files are, and where they come from."""

    folder: str
    lineage: AnyLineage
    imported: Imported | None = None


def _trained(run: FineTuneJobResource, seen: Seen, report: CheckReport) -> _Candidate:
    trained = seen.attempts.found(TrainingSummary)
    settings = {"method": run.spec.method, "lora": lora(run), "quantization": quantization(run)}
    return _Candidate(
        attempt_folder(seen.attempts.known().begun_at(TRAIN.task, trained.number)),
        Lineage.model_validate({**dict(origin(run, report, trained.payload)), **settings}),
    )


def _imported(run: FineTuneJobResource, seen: Seen, report: CheckReport) -> _Candidate:
    taken = seen.attempts.found(Imported).payload
    lineage = ImportLineage(
        job=run.metadata.name,
        job_uid=run.metadata.uid,
        adapter_source=run.spec.brought_in.source,
        adapter_digest=taken.digest,
        dataset_source=run.spec.dataset.source,
        dataset_digest=report.dataset_digest,
        validation_source=run.spec.dataset.validation.source,
        validation_digest=report.validation_digest,
        heldout_rows=report.heldout_rows,
        lora=taken.lora,
        sequence_length=run.spec.training.sequence_length,
        seed=run.spec.training.seed,
    )
    return _Candidate(IMPORT_FOLDER, lineage, taken)


ASSESS = JobStage(
    task="assess",
    more_memory="Raise spec.pod.resources.limits.memory",
    brings=Assessment,
    words=Words(ConditionType.PUBLISHED, "assessing", Done.PUBLISHED, Waiting.ASSESSING),
    work=_work,
    asks_what_serves=True,
)
