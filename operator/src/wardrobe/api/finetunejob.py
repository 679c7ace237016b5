"""Kind FineTuneJob: one training run."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.alias_generators import to_camel

from wardrobe_contracts.assessment import MOST_ROWS
from wardrobe_contracts.base import Accelerator, Method, Variant
from wardrobe_contracts.datasets import FileFormat
from wardrobe_contracts.deepspeed import ZeroStage
from wardrobe_contracts.gate import Against, Metric, Verdict
from wardrobe_contracts.rules import Level, RuleName
from wardrobe_contracts.training import Initialization, Optimizer, Scaling

from .meta import (
    Line,
    Metadata,
    Name,
    NamedReference,
    ObjectName,
    Resource,
    SecretReference,
    Seed,
    Sha256,
    SourceText,
    Status,
    Typed,
)

KIND = "FineTuneJob"
PLURAL = "finetunejobs"


class Output(Typed):
    """What the run makes: one of both, as the method says."""

    adapter: Line | None = None
    """The line; the run makes its next version."""
    base_model: Name | None = None
    """A BaseModel that is not there yet."""


class Validation(Typed):
    """How the held-out side is split off, or where it is. Nothing of the split is set where it has a source."""

    source: SourceText | None = None
    fraction: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    """None for FRACTION."""
    seed: Seed | None = None
    """None for SPLIT_SEED."""


FRACTION, SPLIT_SEED = "0.2", 7


ColumnName = Annotated[str, Field(min_length=1, max_length=128)]


class ColumnsSpec(Typed):
    """Columns that hold a row: of messages, of prompt and completion, or of text."""

    messages: ColumnName | None = None
    prompt: ColumnName | None = None
    completion: ColumnName | None = None
    text: ColumnName | None = None


class SecretCredentials(Typed):
    """By what a run is known to a server elsewhere."""

    secret_name: ObjectName


class RuleSpec(Typed):
    """What is set of a rule for datasets; None for the rule's own."""

    level: Level | None = None
    threshold: Annotated[str, Field(min_length=1, max_length=9)] | None = None


class Rules(Typed):
    """Rules of which something is set, by their names."""

    dropped_rows: RuleSpec | None = None
    label_density: RuleSpec | None = None
    secrets: RuleSpec | None = None
    personal_data: RuleSpec | None = None
    distinct_answers: RuleSpec | None = None
    training_rows: RuleSpec | None = None
    heldout_rows: RuleSpec | None = None
    heldout_share: RuleSpec | None = None
    truncated_rows: RuleSpec | None = None
    duplicates: RuleSpec | None = None
    conflicting_answers: RuleSpec | None = None
    shared_answers: RuleSpec | None = None
    near_copies: RuleSpec | None = None
    leakage: RuleSpec | None = None
    common_frame: RuleSpec | None = None
    perishable_facts: RuleSpec | None = None

    @property
    def given(self) -> dict[RuleName, RuleSpec]:
        """Those of which something is set."""
        return {RuleName(to_camel(name)): rule for name, rule in self if rule is not None}


class Dataset(Typed):
    """What is trained on."""

    source: SourceText
    endpoint: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    credentials: SecretCredentials | None = None
    format: FileFormat | None = None
    columns: ColumnsSpec | None = None
    validation: Validation = Validation()
    rules: Rules | None = None


class AdapterSource(Typed):
    """What method Import brings in."""

    source: SourceText
    digest: Sha256 | None = None
    """Of both files; None for whatever is there."""
    endpoint: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    credentials: SecretCredentials | None = None


ModuleName = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$")
]


class LoraSpec(Typed):
    """LoRA hyperparameters."""

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[int, Field(ge=1, le=4096)] = 32
    dropout: Annotated[str, Field(max_length=8, pattern=r"^0([.][0-9]{1,4})?$")] = "0"
    target_modules: Annotated[list[ModuleName], Field(min_length=1, max_length=64)] = ["all-linear"]
    scaling: Scaling = Scaling.STANDARD
    initialization: Annotated[str, Field(min_length=1, max_length=32)] = Initialization.KAIMING_UNIFORM.value
    """A rule of the CRD says which, and why no other."""


class QuantizationSpec(Typed):
    """How the frozen base is held."""

    type: Literal[Variant.INT8, Variant.NF4, Variant.FP4] = Variant.NF4
    double_quantization: Literal["Enabled", "Disabled"] | None = None
    """Of 4 bits; absent means Enabled."""


class Hyperparameters(Typed):
    """How long and how fast: what decides, with the data, what comes of it."""

    epochs: Annotated[str, Field(max_length=8, pattern=r"^[0-9]+([.][0-9]+)?$")] = "3"
    learning_rate: Annotated[str, Field(max_length=16, pattern=r"^[0-9]+([.][0-9]+)?(e-?[0-9]+)?$")] = "2e-4"
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 16
    micro_batch_size: Annotated[int, Field(ge=1, le=4096)] = 4
    sequence_length: Annotated[int, Field(ge=16, le=1048576)] = 1024
    seed: Seed = 7
    optimizer: Optimizer = Optimizer.ADAMW


class TrainingSpec(Hyperparameters):
    """And by what means."""

    activation_checkpointing: Literal["Enabled", "Disabled"] | None = None


class DeepSpeedSpec(Typed):
    """What DeepSpeed partitions over the processes."""

    zero_stage: ZeroStage = 2


class Parallelism(Typed):
    """On what the run computes, and in how many processes."""

    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    processes_per_node: Annotated[int, Field(ge=1, le=16)] = 1
    accelerator: Accelerator = Accelerator.GPU
    resource: Annotated[str, Field(min_length=3, max_length=253)] = "nvidia.com/gpu"
    """Extended resource by which a pod asks for accelerators, one for each of its processes."""
    deepspeed: DeepSpeedSpec | None = None
    start_seconds: Annotated[int, Field(ge=10, le=86400)] = 1800
    stall_seconds: Annotated[int, Field(ge=60, le=86400)] = 1800

    @property
    def zero_stage(self) -> ZeroStage | None:
        """As written; several processes that name none partition gradients, one on its own has no DeepSpeed."""
        if self.deepspeed:
            return self.deepspeed.zero_stage
        return DeepSpeedSpec().zero_stage if self.nodes * self.processes_per_node > 1 else None


class Checkpoints(Typed):
    """How often training is written down."""

    every_seconds: Annotated[int, Field(ge=10, le=86400)] = 600
    keep: Annotated[int, Field(ge=1, le=10)] = 2


class Restarts(Typed):
    """Attempts that a run may cost beyond its first, each kind for itself."""

    infrastructure: Annotated[int, Field(ge=0, le=30)] = 10
    failure: Annotated[int, Field(ge=0, le=10)] = 0


MaxRegression = Annotated[str, Field(max_length=8, pattern=r"^[0-9]([.][0-9]{1,4})?$")]


class GateRuleSpec(Typed):
    """What the adapter must not be worse than."""

    metric: Metric
    against: Against
    max_regression: MaxRegression = "0"


class EvaluationSettings(Typed):
    """How the adapter is measured, and what is asked of it."""

    variants: Annotated[list[Variant], Field(min_length=1, max_length=4)] | None = None
    """None: what it was trained on, and what its base serves in."""
    max_rows: Annotated[int, Field(ge=10, le=1000000)] = MOST_ROWS
    gate: Annotated[list[GateRuleSpec], Field(min_length=1, max_length=4)] | None = None


class MlflowSpec(Typed):
    """A server of MLflow, which gets the run's parameters, curves and scores."""

    uri: Annotated[str, Field(min_length=1, max_length=256)]
    experiment: Annotated[str, Field(min_length=1, max_length=250)]
    credentials: SecretCredentials | None = None


class Tracking(Typed):
    """Who is told of the run."""

    mlflow: MlflowSpec


LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]


class PodSettings(Typed):
    """What the run's pods get from the person who writes the job."""

    resources: dict[str, Any] = {}
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    tolerations: Annotated[list[dict[str, Any]], Field(max_length=32)] = []
    image_pull_secrets: Annotated[list[SecretReference], Field(max_length=8)] = []
    priority_class_name: ObjectName | None = None


class FineTuneJobSpec(Typed):
    """What the team writes. Immutable but for `suspend` and `ttl_seconds_after_finished`."""

    base_model: NamedReference
    output: Output
    method: Method = Method.QLORA
    adapter: AdapterSource | None = None
    """Of method Import."""
    dataset: Dataset
    lora: LoraSpec | None = None
    quantization: QuantizationSpec | None = None
    training: TrainingSpec = TrainingSpec()
    parallelism: Parallelism = Parallelism()
    checkpoints: Checkpoints = Checkpoints()
    restarts: Restarts = Restarts()
    evaluation: EvaluationSettings = EvaluationSettings()
    tracking: Tracking | None = None
    suspend: bool = False
    active_deadline_seconds: Annotated[int, Field(ge=10, le=31536000)] | None = None
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31536000)] | None = None
    pod: PodSettings = PodSettings()

    @property
    def line(self) -> str:
        """The line that the run adds to. Only of methods that make an adapter."""
        assert self.output.adapter is not None  # noqa: S101  a rule of the CRD
        return self.output.adapter

    @property
    def new_base(self) -> str:
        """Name of the BaseModel that the run makes. Only of method Full."""
        assert self.output.base_model is not None  # noqa: S101  a rule of the CRD
        return self.output.base_model

    @property
    def brought_in(self) -> AdapterSource:
        """The adapter to import. Only of method Import."""
        assert self.adapter is not None  # noqa: S101  a rule of the CRD
        return self.adapter

    @property
    def mlflow(self) -> MlflowSpec | None:
        """The server that is told of the run, if one is to be."""
        return self.tracking.mlflow if self.tracking else None

    @property
    def effective_lora(self) -> LoraSpec:
        """As written, with what is meant where nothing is. Only of methods that train an adapter."""
        return self.lora or LoraSpec()

    @property
    def effective_quantization(self) -> QuantizationSpec | None:
        """As written, with what is meant where nothing is; None where the base is trained on as stored."""
        written = self.quantization or (QuantizationSpec() if self.method is Method.QLORA else None)
        if written is None or written.type is Variant.INT8:
            return written
        return QuantizationSpec(type=written.type, double_quantization=written.double_quantization or "Enabled")


class DatasetStatus(Typed):
    """What the check found."""

    digest: str
    validation_digest: str | None = None
    rows: int
    train_rows: int
    train_examples: int | None = None
    heldout_rows: int
    heldout_share: str | None = None
    """Of the rows that are kept."""
    dropped_rows: int
    left_out_rows: int | None = None
    truncated_rows: int
    warnings: list[str] = []


class AttemptStatus(Typed):
    """How one attempt to train went."""

    number: int
    result: str
    """Class of its end, in the words of docs/conditions.md; Running before."""
    reason: str | None = None
    steps: int | None = None
    """Optimizer steps of the run that were done when it ended."""
    resumed: int | None = None
    """Steps that were done when it began."""
    lost: int | None = None
    """Steps that are done again: what it did after its last checkpoint."""


class TrackingProgress(Typed):
    """How the server stands that is told of the attempt."""

    run_id: str | None = None
    experiment_id: str | None = None
    reason: str | None = None
    """Why it lacks something; None where it has all."""
    message: str | None = None


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
    saved: int | None = None
    """Steps that the newest checkpoint has."""
    problem: str | None = None
    tracking: TrackingProgress | None = None
    updated: str | None = None


class MlflowStatus(Typed):
    """The run at the server."""

    run_id: str
    url: str


class TrackingStatus(Typed):
    """Where the run is tracked."""

    mlflow: MlflowStatus


class MlflowRun(Typed):
    """The run at a server, for whoever has only what came of it."""

    uri: Annotated[str, Field(min_length=1, max_length=256)]
    experiment: Annotated[str, Field(min_length=1, max_length=250)]
    run_id: Annotated[str, Field(min_length=1, max_length=64)]


class FineTuneJobStatus(Status):
    """What became of it."""

    run: str | None = None
    start_time: str | None = None
    """Since when its Jobs may run; None before, while it is suspended or queued, and once it has ended."""
    restarts: int | None = None
    attempts: list[AttemptStatus] = []
    goodput: str | None = None
    """Share of the steps that were done which count."""
    adapter: str | None = None
    base_model: str | None = None
    score: str | None = None
    verdict: Verdict | None = None
    dataset: DatasetStatus | None = None
    tracking: TrackingStatus | None = None
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
