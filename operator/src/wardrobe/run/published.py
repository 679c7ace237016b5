"""The Adapter that a run ends in. It has no owner: adapters outlive what made them."""

from dataclasses import dataclass

from wardrobe.api import adapter, children
from wardrobe.api.adapter import (
    AdapterLineage,
    AdapterSpec,
    Artifact,
    BaseModelIdentity,
    DatasetLineage,
    EvaluationSpec,
    IncumbentSpec,
    IntervalSpec,
    JobIdentity,
    JudgementSpec,
    LineageSpec,
    NotAssessedSpec,
    ScoreSpec,
    TrackingLineage,
    ValidationLineage,
)
from wardrobe.api.finetunejob import FineTuneJobResource, LoraSpec, MlflowRun
from wardrobe.api.meta import API_VERSION, Manifest
from wardrobe.base.ready import ReadyBase
from wardrobe_contracts import paths
from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.base import AdapterName, Method
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.gate import Judgement
from wardrobe_contracts.imports import Imported
from wardrobe_contracts.manifest import Evaluation, IncumbentScores, Interval, NotAssessed, Score
from wardrobe_contracts.text import shorten
from wardrobe_contracts.training import Lora, TrainingSummary

MESSAGE_LIMIT = 2048
"""Characters, as the Adapter's schema says."""


@dataclass(frozen=True)
class Outcome:
    """What the Jobs of a run found and made."""

    report: CheckReport
    made: TrainingSummary | Imported
    """What the candidate comes of."""
    assessment: Assessment
    tracked: MlflowRun | None = None


def adapter_name(line: str, version: int) -> AdapterName:
    """`cardiology-v3`."""
    return f"{line}-v{version}"


def line_of(name: AdapterName) -> str:
    """`cardiology`; nothing of what is no version's name."""
    return name.rpartition("-v")[0]


def adapter_manifest(
    run: FineTuneJobResource,
    base: ReadyBase,
    outcome: Outcome,
    version: int,
) -> Manifest:
    """The run's Adapter as version `version` of its line, labelled with the run's uid."""
    assessment = outcome.assessment
    line = run.spec.line
    spec = AdapterSpec(
        line=line,
        version=version,
        artifact=Artifact(path=paths.artifact_in_store(line, assessment.digest)),
        digest=assessment.digest,
        manifest_digest=assessment.manifest_digest,
        base_model=BaseModelIdentity(name=base.name, digest=base.digest),
        lora=_lora(outcome.made.lora) if isinstance(outcome.made, Imported) else run.spec.effective_lora,
        lineage=_lineage(run, outcome),
        evaluations=evaluations(assessment),
        not_assessed=[_not_assessed(found) for found in assessment.not_assessed] or None,
        verdict=assessment.verdict,
        gate=[_judgement(found) for found in assessment.gate] or None,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": adapter.KIND,
        "metadata": {
            "name": adapter_name(line, version),
            "namespace": run.metadata.namespace,
            "labels": {
                children.MANAGED_BY_LABEL: children.MANAGED_BY,
                children.LINE_LABEL: line,
                children.RUN_UID_LABEL: run.metadata.uid,
            },
        },
        "spec": spec.to_manifest(),
    }


def evaluations(assessment: Assessment) -> list[EvaluationSpec]:
    """The scores as an Adapter says them."""
    return [_evaluation(found) for found in assessment.evaluations]


def _lora(found: Lora) -> LoraSpec:
    """As an import found it in the files."""
    return LoraSpec(
        rank=found.rank,
        alpha=found.alpha,
        dropout=_number(found.dropout),
        target_modules=found.target_modules,
        scaling=found.scaling,
        initialization=found.initialization.value,
    )


def _lineage(run: FineTuneJobResource, outcome: Outcome) -> LineageSpec:
    assert run.spec.method is not Method.FULL  # noqa: S101  which makes no Adapter
    report, made = outcome.report, outcome.made
    job = JobIdentity(name=run.metadata.name, uid=run.metadata.uid)
    dataset = DatasetLineage(
        source=run.spec.dataset.source,
        digest=report.dataset_digest,
        train_rows=report.train_rows if run.spec.adapter is None else None,
        heldout_rows=report.heldout_rows,
        evaluated_rows=outcome.assessment.evaluated_rows,
        validation=_validation(run, report),
    )
    tracking = TrackingLineage(mlflow=outcome.tracked) if outcome.tracked else None
    if isinstance(made, Imported):
        adapter = AdapterLineage(source=run.spec.brought_in.source, digest=made.digest)
        return LineageSpec(job=job, dataset=dataset, method=run.spec.method, adapter=adapter, tracking=tracking)
    return LineageSpec(
        job=job,
        dataset=dataset,
        method=run.spec.method,
        quantization=run.spec.effective_quantization,
        training=run.spec.training,
        packages=made.packages,
        tracking=tracking,
    )


def _validation(run: FineTuneJobResource, report: CheckReport) -> ValidationLineage | None:
    source, digest = run.spec.dataset.validation.source, report.validation_digest
    return ValidationLineage(source=source, digest=digest) if source and digest else None


def _evaluation(found: Evaluation) -> EvaluationSpec:
    return EvaluationSpec(
        variant=found.variant,
        base=_score(found.whole.base, found.body.base),
        candidate=_score(found.whole.candidate, found.body.candidate),
        difference=_difference(found.whole.difference, found.body.difference),
        incumbents=[_incumbent(one) for one in found.incumbents] or None,
        tokens=found.whole.base.tokens,
        body_tokens=found.body.base.tokens,
    )


def _incumbent(found: IncumbentScores) -> IncumbentSpec:
    return IncumbentSpec(
        adapter=found.name,
        digest=found.digest,
        score=_score(found.whole, found.body),
        difference=_interval(found.whole_difference, found.body_difference),
    )


def _difference(whole: Interval | None, body: Interval | None) -> IntervalSpec | None:
    return _interval(whole, body) if whole and body else None


def _interval(whole: Interval, body: Interval) -> IntervalSpec:
    return IntervalSpec(
        low=_number(whole.low), high=_number(whole.high), body_low=_number(body.low), body_high=_number(body.high)
    )


def _not_assessed(found: NotAssessed) -> NotAssessedSpec:
    return NotAssessedSpec(
        variant=found.variant,
        reason=found.reason.value,
        message=shorten(found.message, MESSAGE_LIMIT),
        needed_bytes=found.needed_bytes,
    )


def _judgement(found: Judgement) -> JudgementSpec:
    numbers = {name: getattr(found, name) for name in ("reference", "candidate", "regression", "low", "high")}
    return JudgementSpec(
        metric=found.metric,
        against=found.against,
        max_regression=f"{found.max_regression:.4f}",
        outcome=found.outcome,
        variant=found.variant,
        adapter=found.adapter,
        message=found.message and shorten(found.message, MESSAGE_LIMIT),
        **{name: None if number is None else _number(number) for name, number in numbers.items()},
    )


def _number(value: float) -> str:
    """Without an exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _score(whole: Score, body: Score) -> ScoreSpec:
    return ScoreSpec(
        loss=f"{whole.loss:.4f}",
        perplexity=f"{whole.perplexity:.2f}",
        body_loss=f"{body.loss:.4f}",
        body_perplexity=f"{body.perplexity:.2f}",
    )
