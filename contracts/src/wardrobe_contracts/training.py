"""Task `train`: one attempt of one run."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from .base import Accelerator, BaseLocation, Digest, Exchanged, Order, Record, TaskPayload, Variant, base_from_format_0
from .tracking import MlflowTracking, Tracked

PROGRESS_PORT = 8081
"""Where rank 0's launcher serves `/progress` (JSON) and `/metrics` (Prometheus)."""

MASTER_PORT = 29500
"""Where the first process awaits the others: torch.distributed's customary port."""
MASTER_VARIABLE = "WARDROBE_MASTER"
"""Names the first pod's host to all pods of an attempt that has several."""

ADAPTER_FOLDER = "adapter"
"""Inside an attempt's folder: what training leaves for assess."""
MODEL_FOLDER = "model"
"""The same of method Full, for release."""


class Scaling(StrEnum):
    """By what an adapter's effect is multiplied."""

    STANDARD = "Standard"
    """alpha / rank (Hu et al. 2021)."""
    RANK_STABILIZED = "RankStabilized"
    """alpha / sqrt(rank) (Kalajdzievski 2023): of a size that does not fall as the rank rises."""


class Initialization(StrEnum):
    """How A begins; B begins at zero, so that an untrained adapter changes nothing and the base stays as it is."""

    KAIMING_UNIFORM = "KaimingUniform"
    GAUSSIAN = "Gaussian"


class Optimizer(StrEnum):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), by how it keeps its moments."""

    ADAMW = "AdamW"
    ADAMW_8BIT = "AdamW8bit"
    """Moments in blocks of 8 bits (Dettmers et al. 2022): 2 bytes a weight instead of 8."""
    PAGED_ADAMW = "PagedAdamW"
    """Moments in memory that the driver moves to the host while the GPU has no room."""
    PAGED_ADAMW_8BIT = "PagedAdamW8bit"

    def on(self, accelerator: Accelerator) -> "Optimizer":
        """What it is where there is nothing to page out of: without paging."""
        if accelerator is Accelerator.GPU:
            return self
        unpaged = {Optimizer.PAGED_ADAMW: Optimizer.ADAMW, Optimizer.PAGED_ADAMW_8BIT: Optimizer.ADAMW_8BIT}
        return unpaged.get(self, self)


class Lora(Record):
    """LoRA hyperparameters (Hu et al. 2021): delta W = scale * B A."""

    rank: Annotated[int, Field(ge=1, le=512)]
    alpha: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)]
    target_modules: Annotated[list[str], Field(min_length=1)]
    """Module names, or the single word `all-linear`."""
    scaling: Scaling = Scaling.STANDARD
    initialization: Initialization = Initialization.KAIMING_UNIFORM


class Quantization(Record):
    """How the frozen base is held in fewer bits: in 8 (Dettmers et al. 2022), or in 4 (Dettmers et al. 2023)."""

    type: Literal[Variant.INT8, Variant.NF4, Variant.FP4]
    double_quantization: bool = False
    """Whether the scales are quantized too; only in 4 bits."""


class Schedule(Record):
    """How long and how fast."""

    epochs: PositiveFloat
    learning_rate: PositiveFloat
    batch_size: PositiveInt
    """Rows per optimizer step."""
    micro_batch_size: PositiveInt
    """Rows per forward pass of one process; batch_size is a multiple of it times all processes."""
    sequence_length: PositiveInt
    seed: NonNegativeInt
    optimizer: Optimizer = Optimizer.ADAMW

    def gradient_accumulation_steps(self, processes: int) -> int:
        """Micro-batches of each of so many processes per optimizer step."""
        return self.batch_size // (self.micro_batch_size * processes)


class AdapterMethod(Record):
    """An adapter beside the frozen base."""

    lora: Lora
    quantization: Quantization | None = None

    @property
    def variant(self) -> Variant:
        """How the base is held."""
        return Variant.NONE if self.quantization is None else self.quantization.type


class LoraMethod(AdapterMethod):
    """On the base as it is stored, or in 8 bits."""

    name: Literal["LoRA"] = "LoRA"


class QloraMethod(AdapterMethod):
    """On the base in four bits."""

    name: Literal["QLoRA"] = "QLoRA"
    quantization: Quantization


class FullMethod(Record):
    """All weights of the base: another base comes of it."""

    name: Literal["Full"] = "Full"

    @property
    def variant(self) -> Variant:
        """How the base is held."""
        return Variant.NONE


TrainingMethod = Annotated[LoraMethod | QloraMethod | FullMethod, Field(discriminator="name")]


class Processes(Record):
    """How many processes train together; each has an accelerator of its own."""

    nodes: PositiveInt = 1
    """Pods of the attempt."""
    per_node: PositiveInt = 1
    start_seconds: PositiveFloat = 1800.0
    """Within which all must have found each other; else those that are there give their accelerators back."""
    stall_seconds: PositiveFloat = 1800.0
    """A step that takes longer, and ten times the median of those before it, ends the attempt."""

    @property
    def total(self) -> int:
        """The world size."""
        return self.nodes * self.per_node


class CheckpointPlan(Record):
    """How often the state of training is written down."""

    every_seconds: PositiveFloat = 600.0
    keep: PositiveInt = 2


class Reached(Record):
    """How far an attempt came."""

    step: NonNegativeInt
    """Optimizer steps of the whole run that were done, those of earlier attempts among them."""
    resumed: NonNegativeInt = 0
    """Steps that were done when it began."""
    saved: NonNegativeInt = 0
    """Steps that the newest checkpoint has."""
    step_seconds: float | None = None
    save_seconds: float | None = None


class TrainConfig(Order):
    """Order to train on checked data."""

    format: PositiveInt = 4
    """2 has processes, DeepSpeed and activation checkpointing, 3 method Full, scaling, initialization and
    optimizers, 4 a chat template's prelude: none of these must be skipped."""

    base: BaseLocation
    data_folder: str
    """Folder of the check's output."""
    train_digest: Digest
    """Of `train.jsonl`: what is trained on is what was checked."""
    tokens_digest: Digest | None = None
    """Of the same rows as tokens; None where the check was of a release that did not write them."""
    output_folder: str
    """This attempt's own folder; what is trained goes to ADAPTER_FOLDER or MODEL_FOLDER in it."""
    method: TrainingMethod
    schedule: Schedule
    accelerator: Accelerator
    processes: Processes = Processes()
    deepspeed: str | None = None
    """File of DeepSpeed's configuration. Several processes always have one."""
    checkpoints: CheckpointPlan | None = None
    grace_seconds: PositiveFloat = 50.0
    """From SIGTERM until what still runs is killed."""
    activation_checkpointing: bool | None = None
    """Whether activations are computed twice instead of kept; None for on GPUs and not on CPUs."""
    tracking: MlflowTracking | None = None

    @model_validator(mode="after")
    def _whole_accumulation(self) -> Self:
        if self.schedule.batch_size % (self.schedule.micro_batch_size * self.processes.total):
            raise ValueError("batchSize must be a multiple of microBatchSize times the number of processes")
        if self.processes.total > 1 and self.deepspeed is None:
            raise ValueError("several processes train with DeepSpeed: its configuration must be given")
        return self

    @classmethod
    def from_format_0(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The base's location in two fields, the method's settings beside its name."""
        settings = {name: value for name, value in given.items() if name in {"lora", "quantization"}}
        return given | {"base": base_from_format_0(given), "method": settings | {"name": given.get("method")}}


class Progress(Exchanged):
    """Where an attempt is now, as served by its launcher."""

    stage: Literal["Loading", "Training", "Saving"]
    step: NonNegativeInt = 0
    steps: NonNegativeInt = 0
    epoch: float = 0.0
    loss: float | None = None
    """Mean loss per label token since the last report."""
    tokens_per_second: float | None = None
    seconds_left: NonNegativeInt | None = None
    reached: Reached | None = None
    problem: str | None = None
    """Why nothing could be written at the last try."""
    saving: bool = False
    """Whether a checkpoint is being written, which is no step."""
    tracked: Tracked | None = None
    """None where it is not tracked, and before that has begun."""


class TrainingSummary(TaskPayload):
    """What an attempt did."""

    task: Literal["train"] = "train"
    steps: PositiveInt
    tokens: PositiveInt
    """Tokens passed through the model, padding left out."""
    seconds: float
    first_loss: float
    last_loss: float
    trainable_parameters: PositiveInt
    peak_memory_bytes: PositiveInt
    """Highest resident size (CPU) or torch allocation (GPU) of rank 0."""
    packages: dict[str, str]
    """Versions of the libraries that determine the outcome."""
    optimizer: Optimizer | None = None
    """With which it was trained; None where an older release did."""
    instead_of: Optimizer | None = None
    """What was asked for, where that is another."""
    reached: Reached | None = None
