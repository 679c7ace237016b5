"""What the orders of a run's Jobs have in common: hyperparameters as the trainer takes them, folders, mounts."""

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe_contracts import paths
from wardrobe_contracts.base import Method
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.manifest import Origin
from wardrobe_contracts.training import (
    FullMethod,
    Initialization,
    Lora,
    LoraMethod,
    Processes,
    QloraMethod,
    Quantization,
    Schedule,
    TrainingMethod,
    TrainingSummary,
)

CHECK_FOLDER = f"{paths.RUN}/check"
IMPORT_FOLDER = f"{paths.RUN}/import"


def attempt_folder(number: int) -> str:
    """Where a training attempt writes, and nowhere else."""
    return f"{paths.RUN}/{number}"


def method(run: FineTuneJobResource) -> TrainingMethod:
    """The method with the settings that are its own."""
    if run.spec.method is Method.FULL:
        return FullMethod()
    quantized = quantization(run)
    if run.spec.method is Method.QLORA and quantized is not None:
        return QloraMethod(lora=lora(run), quantization=quantized)
    return LoraMethod(lora=lora(run), quantization=quantized)


def lora(run: FineTuneJobResource) -> Lora:
    """Hyperparameters as the trainer takes them."""
    spec = run.spec.effective_lora
    return Lora(
        rank=spec.rank,
        alpha=spec.alpha,
        dropout=float(spec.dropout),
        target_modules=list(spec.target_modules),
        scaling=spec.scaling,
        initialization=Initialization(spec.initialization),
    )


def quantization(run: FineTuneJobResource) -> Quantization | None:
    """How the base is held; None for as stored."""
    spec = run.spec.effective_quantization
    if spec is None:
        return None
    return Quantization(type=spec.type, double_quantization=spec.double_quantization == "Enabled")


def processes(run: FineTuneJobResource) -> Processes:
    """How many, and how long they wait for each other."""
    spec = run.spec.parallelism
    return Processes(
        nodes=spec.nodes,
        per_node=spec.processes_per_node,
        start_seconds=spec.start_seconds,
        stall_seconds=spec.stall_seconds,
    )


def schedule(run: FineTuneJobResource) -> Schedule:
    """The schedule with its strings read as numbers."""
    spec = run.spec.training
    return Schedule(
        epochs=float(spec.epochs),
        learning_rate=float(spec.learning_rate),
        batch_size=spec.batch_size,
        micro_batch_size=spec.micro_batch_size,
        sequence_length=spec.sequence_length,
        seed=spec.seed,
        optimizer=spec.optimizer,
    )


def origin(run: FineTuneJobResource, report: CheckReport, summary: TrainingSummary) -> Origin:
    """Run and data, as what is published says them."""
    return Origin(
        job=run.metadata.name,
        job_uid=run.metadata.uid,
        dataset_source=run.spec.dataset.source,
        dataset_digest=report.dataset_digest,
        validation_source=run.spec.dataset.validation.source,
        validation_digest=report.validation_digest,
        train_rows=report.train_rows,
        heldout_rows=report.heldout_rows,
        schedule=schedule(run),
        packages=summary.packages,
    )
