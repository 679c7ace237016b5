"""The Adapter that a run ends in. It has no owner: adapters outlive what made them."""

from dataclasses import dataclass

from wardrobe.api import adapter, children
from wardrobe.api.adapter import (
    AdapterSpec,
    Artifact,
    BaseModelIdentity,
    DatasetLineage,
    EvaluationSpec,
    JobIdentity,
    LineageSpec,
    ScoreSpec,
)
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import API_VERSION, Manifest
from wardrobe.base.ready import ReadyBase
from wardrobe_contracts import paths
from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.base import AdapterName, Method
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.manifest import Evaluation, Score
from wardrobe_contracts.training import TrainingSummary


@dataclass(frozen=True)
class Outcome:
    """What the Jobs of a run found and made."""

    report: CheckReport
    summary: TrainingSummary
    assessment: Assessment


def adapter_name(line: str, version: int) -> AdapterName:
    """`cardiology-v3`."""
    return f"{line}-v{version}"


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
        lora=run.spec.effective_lora,
        lineage=_lineage(run, outcome.report, outcome.summary),
        evaluations=evaluations(assessment),
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


def _lineage(run: FineTuneJobResource, report: CheckReport, summary: TrainingSummary) -> LineageSpec:
    assert run.spec.method is not Method.FULL  # noqa: S101  which makes no Adapter
    return LineageSpec(
        job=JobIdentity(name=run.metadata.name, uid=run.metadata.uid),
        dataset=DatasetLineage(
            source=run.spec.dataset.source,
            digest=report.dataset_digest,
            train_rows=report.train_rows,
            heldout_rows=report.heldout_rows,
        ),
        method=run.spec.method,
        quantization=run.spec.effective_quantization,
        training=run.spec.training,
        packages=summary.packages,
    )


def _evaluation(found: Evaluation) -> EvaluationSpec:
    return EvaluationSpec(
        variant=found.variant,
        base=_score(found.whole.base, found.body.base),
        candidate=_score(found.whole.candidate, found.body.candidate),
        tokens=found.whole.base.tokens,
        body_tokens=found.body.base.tokens,
    )


def _score(whole: Score, body: Score) -> ScoreSpec:
    return ScoreSpec(
        loss=f"{whole.loss:.4f}",
        perplexity=f"{whole.perplexity:.2f}",
        body_loss=f"{body.loss:.4f}",
        body_perplexity=f"{body.perplexity:.2f}",
    )
