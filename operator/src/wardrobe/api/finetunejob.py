"""Kind FineTuneJob: one training run."""

from typing import Any, Literal

from wardrobe_contracts.base import Accelerator, Method

from .meta import Metadata, NamedReference, Resource, Status, Typed

KIND = "FineTuneJob"
PLURAL = "finetunejobs"


class Output(Typed):
    """Where the result goes."""

    adapter: str
    """The line; the run makes its next version."""


class Validation(Typed):
    """How the held-out side is split off."""

    fraction: str = "0.2"
    seed: int = 7


class Dataset(Typed):
    """What is trained on."""

    source: str
    validation: Validation = Validation()


class LoraSpec(Typed):
    """LoRA hyperparameters."""

    rank: int = 16
    alpha: int = 32
    dropout: str = "0"
    target_modules: list[str] = ["all-linear"]


class QuantizationSpec(Typed):
    """How QLoRA holds the base."""

    type: Literal["NF4"] = "NF4"
    double_quantization: Literal["Enabled", "Disabled"] = "Enabled"


class TrainingSpec(Typed):
    """How long and how fast."""

    epochs: str = "3"
    learning_rate: str = "2e-4"
    batch_size: int = 16
    micro_batch_size: int = 4
    sequence_length: int = 1024
    seed: int = 7


class Parallelism(Typed):
    """On what the run computes."""

    accelerator: Accelerator = Accelerator.GPU


class PodSettings(Typed):
    """What the run's pods get from the person who writes the job."""

    resources: dict[str, Any] = {}
    node_selector: dict[str, str] = {}
    tolerations: list[dict[str, Any]] = []
    image_pull_secrets: list[NamedReference] = []


class FineTuneJobSpec(Typed):
    """What the team writes. Immutable."""

    base_model: NamedReference
    output: Output
    method: Method = Method.QLORA
    dataset: Dataset
    lora: LoraSpec = LoraSpec()
    quantization: QuantizationSpec | None = None
    training: TrainingSpec = TrainingSpec()
    parallelism: Parallelism = Parallelism()
    pod: PodSettings = PodSettings()

    @property
    def effective_quantization(self) -> QuantizationSpec | None:
        """As written, or QLoRA's default; None for methods that do not quantize."""
        if self.method is not Method.QLORA:
            return None
        return self.quantization or QuantizationSpec()


class DatasetStatus(Typed):
    """What the check found."""

    digest: str
    rows: int
    train_rows: int
    heldout_rows: int
    dropped_rows: int
    truncated_rows: int
    warnings: list[str] = []


class ProgressStatus(Typed):
    """How far the run is. The summary is the column; the rest comes from the training process."""

    summary: str
    stage: str | None = None
    step: int | None = None
    steps: int | None = None
    epoch: str | None = None
    loss: str | None = None
    tokens_per_second: str | None = None
    seconds_left: int | None = None
    updated: str | None = None


class FineTuneJobStatus(Status):
    """What became of it."""

    run: str | None = None
    attempts: int | None = None
    adapter: str | None = None
    score: str | None = None
    dataset: DatasetStatus | None = None
    progress: ProgressStatus | None = None


class FineTuneJobResource(Resource):
    """A FineTuneJob as read."""

    metadata: Metadata
    spec: FineTuneJobSpec
    status: FineTuneJobStatus = FineTuneJobStatus()

    @property
    def run(self) -> str:
        """Name of the run: folders and children carry it. Another job of the same name is another run."""
        return f"{self.metadata.name}-{self.metadata.uid[:8]}"
