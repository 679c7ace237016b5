"""Kind Adapter: one of a line, under a version; it never changes."""

from typing import Annotated, Any, Literal

from pydantic import Field

from wardrobe_contracts.base import Method, Variant
from wardrobe_contracts.gate import Against, Metric, Outcome, Verdict

from .children import RUN_UID_LABEL
from .finetunejob import Hyperparameters, LoraSpec, MaxRegression, MlflowRun, QuantizationSpec
from .meta import Line, Metadata, Name, Resource, Sha256, SourceText, Status, Typed

KIND = "Adapter"
PLURAL = "adapters"
USERS_LIMIT = 100
"""Deployments that status.usedBy may name, as the CRD says. One beyond them is not let in, and says so."""


Rows = Annotated[int, Field(ge=1, le=10**12)]
Tokens = Annotated[int, Field(ge=1, le=10**15)]
Decimal = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+([.][0-9]+)?(e[+-]?[0-9]+)?$")]
Signed = Annotated[str, Field(max_length=32, pattern=r"^-?[0-9]+([.][0-9]+)?$")]
AdapterText = Annotated[str, Field(min_length=1, max_length=64)]
Message = Annotated[str, Field(min_length=1, max_length=2048)]


class Artifact(Typed):
    """Where the files are, inside the namespace's store."""

    path: Annotated[str, Field(min_length=1, max_length=512)]


class BaseModelIdentity(Typed):
    """The base it belongs to: the name is for people, the digest counts."""

    name: Name
    digest: Sha256


class JobIdentity(Typed):
    """The run that made it."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    uid: Annotated[str, Field(min_length=1, max_length=64)]


class ValidationLineage(Typed):
    """The file of the rows kept out."""

    source: SourceText
    digest: Sha256


class DatasetLineage(Typed):
    """The data it was trained on, or, imported, measured on."""

    source: SourceText
    digest: Sha256
    train_rows: Rows | None = None
    """None of an import."""
    heldout_rows: Rows
    evaluated_rows: Rows | None = None
    """None for all."""
    validation: ValidationLineage | None = None
    """None where they were split off."""


class AdapterLineage(Typed):
    """Where a run has imported it from."""

    source: SourceText
    digest: Sha256
    """Of the files as they were there."""


class TrackingLineage(Typed):
    """Where its run was tracked."""

    mlflow: MlflowRun


class LineageSpec(Typed):
    """Where it comes from; absent for one that somebody has written by hand."""

    job: JobIdentity
    dataset: DatasetLineage
    method: Literal[Method.LORA, Method.QLORA, Method.IMPORT]
    adapter: AdapterLineage | None = None
    """Of method Import, where nobody knows the next two."""
    quantization: QuantizationSpec | None = None
    training: Hyperparameters | None = None
    packages: Annotated[dict[str, Annotated[str, Field(max_length=64)]], Field(max_length=32)] = {}
    tracking: TrackingLineage | None = None


class ScoreSpec(Typed):
    """Loss per label token and its exponential, on whole answers and on their bodies."""

    loss: Decimal
    perplexity: Decimal
    body_loss: Decimal
    body_perplexity: Decimal


class IntervalSpec(Typed):
    """Of differences in loss and in bodyLoss, nats per token: 95 % of what other samples of rows would give."""

    low: Signed
    high: Signed
    body_low: Signed
    body_high: Signed


class IncumbentSpec(Typed):
    """A version that answered when this one was measured, on the same tokens."""

    adapter: AdapterText
    digest: Sha256
    score: ScoreSpec
    difference: IntervalSpec


class EvaluationSpec(Typed):
    """Held-out scores on one variant of the base."""

    variant: Variant
    base: ScoreSpec
    candidate: ScoreSpec
    difference: IntervalSpec | None = None
    incumbents: Annotated[list[IncumbentSpec], Field(max_length=64)] | None = None
    tokens: Tokens
    body_tokens: Tokens


class NotAssessedSpec(Typed):
    """A variant that it could not be measured on."""

    variant: Variant
    reason: Annotated[str, Field(min_length=1, max_length=64)]
    message: Message
    needed_bytes: Tokens | None = None


class JudgementSpec(Typed):
    """What one rule of the gate came to."""

    metric: Metric
    against: Against
    max_regression: MaxRegression
    outcome: Outcome
    variant: Variant | None = None
    adapter: AdapterText | None = None
    reference: Decimal | None = None
    candidate: Decimal | None = None
    regression: Signed | None = None
    low: Signed | None = None
    high: Signed | None = None
    message: Message | None = None


class AdapterSpec(Typed):
    """All facts. Immutable."""

    line: Line
    version: Annotated[int, Field(ge=1, le=999999)]
    artifact: Artifact
    digest: Sha256
    manifest_digest: Sha256
    base_model: BaseModelIdentity
    lora: LoraSpec
    lineage: LineageSpec | None = None
    evaluations: Annotated[list[EvaluationSpec], Field(max_length=8)] = []
    not_assessed: Annotated[list[NotAssessedSpec], Field(max_length=4)] | None = None
    verdict: Verdict | None = None
    """None where nothing was asked."""
    gate: Annotated[list[JudgementSpec], Field(max_length=4)] | None = None

    def to_manifest(self) -> dict[str, Any]:
        """The spec as it stands in the API."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class AdapterStatus(Status):
    """Whether it can be used, how good it is in one phrase, and who uses it."""

    score: str | None = None
    used_by: list[str] | None = None
    """AdapterDeployments whose spec or routes name it; None where there is none, so that columns are empty.

    Each puts itself here before its routes lead to it; the Adapter's own reconcile takes out those that are
    gone or name it no longer.
    """


class AdapterResource(Resource):
    """An Adapter as read."""

    metadata: Metadata
    spec: AdapterSpec
    status: AdapterStatus = AdapterStatus()

    @property
    def made_by_a_run(self) -> bool:
        """Whether the operator made it, of files that a run's Job had checked; a policy keeps others from saying so."""
        return RUN_UID_LABEL in self.metadata.labels
