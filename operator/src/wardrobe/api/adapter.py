"""Kind Adapter: one immutable version of a line."""

from typing import Any

from wardrobe_contracts.base import Method, Variant

from .finetunejob import LoraSpec, QuantizationSpec, TrainingSpec
from .meta import Metadata, Resource, Status, Typed

KIND = "Adapter"
PLURAL = "adapters"


class Artifact(Typed):
    """Where the files are, inside the namespace's store."""

    path: str


class BaseModelIdentity(Typed):
    """The base it belongs to: the name is for people, the digest counts."""

    name: str
    digest: str


class JobIdentity(Typed):
    """The run that made it."""

    name: str
    uid: str


class DatasetLineage(Typed):
    """The data it was trained on."""

    source: str
    digest: str
    train_rows: int
    heldout_rows: int


class LineageSpec(Typed):
    """Where it comes from; absent for an imported adapter."""

    job: JobIdentity
    dataset: DatasetLineage
    method: Method
    quantization: QuantizationSpec | None = None
    training: TrainingSpec
    packages: dict[str, str] = {}


class ScoreSpec(Typed):
    """Loss per label token and its exponential, on whole answers and on their bodies."""

    loss: str
    perplexity: str
    body_loss: str
    body_perplexity: str


class EvaluationSpec(Typed):
    """Held-out scores on one variant of the base."""

    variant: Variant
    base: ScoreSpec
    candidate: ScoreSpec
    tokens: int
    body_tokens: int


class AdapterSpec(Typed):
    """All facts. Immutable."""

    line: str
    version: int
    artifact: Artifact
    digest: str
    manifest_digest: str
    base_model: BaseModelIdentity
    lora: LoraSpec
    lineage: LineageSpec | None = None
    evaluations: list[EvaluationSpec] = []

    def to_manifest(self) -> dict[str, Any]:
        """The spec as it stands in the API."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class AdapterStatus(Status):
    """Whether it can be used, how good it is in one phrase, and who uses it."""

    score: str | None = None
    used_by: list[str] | None = None
    """AdapterDeployments whose spec or routes name it, sorted; None where there is none, so that columns are empty.

    A version is routed only by who stands here.
    """


class AdapterResource(Resource):
    """An Adapter as read."""

    metadata: Metadata
    spec: AdapterSpec
    status: AdapterStatus = AdapterStatus()
