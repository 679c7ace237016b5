"""Assess: base and adapter on the held-out rows, and the adapter's files in the store under their digest."""

from wardrobe.api.finetunejob import FineTuneJobResource, FineTuneJobSpec
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase
from wardrobe.manifests import volumes
from wardrobe.run.orders import CHECK_FOLDER, attempt_folder, lora, origin, quantization
from wardrobe.run.seen import Seen
from wardrobe.run.serving import Serving
from wardrobe_contracts import paths, training
from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.base import Variant
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.gate import GateRule
from wardrobe_contracts.manifest import Lineage
from wardrobe_contracts.training import TrainingSummary

from .stage import JobStage, Words, Work
from .train import TRAIN


def _work(run: FineTuneJobResource, seen: Seen, base: ReadyBase, _: int) -> Work:
    attempts = seen.attempts
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
        scores_folder=paths.SCORES,
        output_folder=f"{paths.RUN}/assess",
        variants=variants(run.spec, base, seen.serving),
        max_rows=run.spec.evaluation.max_rows,
        incumbents=seen.serving.of(base.digest),
        gate=_gate(run),
        lineage=_lineage(run, checked.payload, trained.payload),
        accelerator=run.spec.parallelism.accelerator,
    )
    return Work(order, (volumes.line(run.spec.line), volumes.scores()))


def variants(spec: FineTuneJobSpec, base: ReadyBase, serving: Serving) -> list[Variant]:
    """As the run says; else what is trained on, and all that the base serves in or is to serve in."""
    wanted = spec.evaluation.variants or [spec.trained_on, *base.variants, *serving.variants]
    return sorted(set(wanted), key=list(Variant).index)


def _gate(run: FineTuneJobResource) -> list[GateRule]:
    return [
        GateRule(metric=rule.metric, against=rule.against, max_regression=float(rule.max_regression))
        for rule in run.spec.evaluation.gate or []
    ]


def _lineage(run: FineTuneJobResource, report: CheckReport, summary: TrainingSummary) -> Lineage:
    settings = {"method": run.spec.method, "lora": lora(run), "quantization": quantization(run)}
    return Lineage.model_validate({**dict(origin(run, report, summary)), **settings})


ASSESS = JobStage(
    task="assess",
    more_memory="Raise spec.pod.resources.limits.memory",
    brings=Assessment,
    words=Words(ConditionType.PUBLISHED, "assessing", Done.PUBLISHED, Waiting.ASSESSING),
    work=_work,
    asks_what_serves=True,
)
