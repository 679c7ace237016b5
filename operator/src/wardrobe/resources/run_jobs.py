"""The three Jobs of a FineTuneJob's run: check, train (one per attempt), assess."""

from wardrobe.api import finetunejob
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import Manifest
from wardrobe.api.sources import parse_claim, parse_source
from wardrobe.settings import Settings
from wardrobe_contracts import paths, training
from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Accelerator, Order
from wardrobe_contracts.check import CheckConfig, CheckReport
from wardrobe_contracts.manifest import BaseReference, Lineage
from wardrobe_contracts.result import Task
from wardrobe_contracts.training import Lora, Quantization, Schedule, TrainConfig, TrainingSummary

from . import task_job, volumes
from .task_job import TaskJob
from .volumes import Mount

CHECK_RESOURCES: Manifest = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "4Gi"}}
"""The check tokenizes on CPU and asks for no accelerator."""

CHECK_FOLDER = f"{paths.RUN}/check"


def check_job(run: FineTuneJobResource, base: BaseModelResource, number: int, settings: Settings) -> Manifest:
    """The dataset's check, which also splits it into the run's folder. `base` is Ready."""
    source = parse_source(run.spec.dataset.source)
    order = CheckConfig(
        base_folder=paths.BASE,
        base_fingerprint=_known(base.status.fingerprint),
        dataset_file=volumes.dataset_file(source),
        source=run.spec.dataset.source,
        sequence_length=run.spec.training.sequence_length,
        validation_fraction=float(run.spec.dataset.validation.fraction),
        seed=run.spec.dataset.validation.seed,
        output_folder=CHECK_FOLDER,
    )
    job = _job(run, base, "check", number, order=order, more=[volumes.dataset(source)])
    return task_job.build(job, settings)


def train_job(
    run: FineTuneJobResource, base: BaseModelResource, report: CheckReport, number: int, settings: Settings
) -> Manifest:
    """Attempt `number` of the training, in a folder of its own."""
    order = TrainConfig(
        base_folder=paths.BASE,
        base_fingerprint=_known(base.status.fingerprint),
        data_folder=CHECK_FOLDER,
        train_digest=report.train_digest,
        output_folder=attempt_folder(number),
        method=run.spec.method,
        lora=lora(run),
        quantization=quantization(run),
        schedule=schedule(run),
        accelerator=run.spec.parallelism.accelerator,
    )
    return task_job.build(_job(run, base, "train", number, order=order, more=[]), settings)


def assess_job(
    run: FineTuneJobResource,
    base: BaseModelResource,
    report: CheckReport,
    trained: tuple[int, TrainingSummary],
    number: int,
    *,
    settings: Settings,
) -> Manifest:
    """The assessment of what attempt `trained[0]` left."""
    attempt, summary = trained
    order = AssessConfig(
        run=run.run,
        line=run.spec.output.adapter,
        base_folder=paths.BASE,
        base_fingerprint=_known(base.status.fingerprint),
        base=_base_reference(base),
        data_folder=CHECK_FOLDER,
        heldout_digest=report.heldout_digest,
        candidate_folder=f"{attempt_folder(attempt)}/{training.ADAPTER_FOLDER}",
        line_folder=paths.LINE,
        output_folder=f"{paths.RUN}/assess",
        variants=base.spec.variants,
        lineage=_lineage(run, report, summary),
        accelerator=run.spec.parallelism.accelerator,
    )
    job = _job(run, base, "assess", number, order=order, more=[volumes.line(run.spec.output.adapter)])
    return task_job.build(job, settings)


def attempt_folder(number: int) -> str:
    """Where a training attempt writes, and nowhere else."""
    return f"{paths.RUN}/{number}"


def lora(run: FineTuneJobResource) -> Lora:
    """Hyperparameters as the trainer takes them."""
    spec = run.spec.lora
    return Lora(rank=spec.rank, alpha=spec.alpha, dropout=float(spec.dropout), target_modules=list(spec.target_modules))


def quantization(run: FineTuneJobResource) -> Quantization | None:
    """How QLoRA holds the base; None for LoRA."""
    spec = run.spec.effective_quantization
    if spec is None:
        return None
    return Quantization(type=spec.type, double_quantization=spec.double_quantization == "Enabled")


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
    )


def _job(
    run: FineTuneJobResource, base: BaseModelResource, task: Task, number: int, *, order: Order, more: list[Mount]
) -> TaskJob:
    return TaskJob(
        task=task,
        number=number,
        run=run.run,
        owner_kind=finetunejob.KIND,
        owner=run.metadata,
        base_digest=_known(base.status.digest),
        order=order,
        mounts=[volumes.base(parse_claim(base.spec.source)), volumes.run(run.run), *more],
        resources=CHECK_RESOURCES if task == "check" else _accelerated(run),
        pod=run.spec.pod,
    )


def _accelerated(run: FineTuneJobResource) -> Manifest:
    """The person's resources; a GPU run that names no GPU gets one."""
    resources = run.spec.pod.resources
    if run.spec.parallelism.accelerator is Accelerator.CPU:
        return resources
    limits = {"nvidia.com/gpu": "1"} | resources.get("limits", {})
    return {**resources, "limits": limits}


def _lineage(run: FineTuneJobResource, report: CheckReport, summary: TrainingSummary) -> Lineage:
    return Lineage(
        job=run.metadata.name,
        job_uid=run.metadata.uid,
        dataset_source=run.spec.dataset.source,
        dataset_digest=report.dataset_digest,
        train_rows=report.train_rows,
        heldout_rows=report.heldout_rows,
        method=run.spec.method,
        lora=lora(run),
        quantization=quantization(run),
        schedule=schedule(run),
        packages=summary.packages,
    )


def _base_reference(base: BaseModelResource) -> BaseReference:
    tokenizer = base.status.tokenizer
    if tokenizer is None:
        raise ValueError(f"BaseModel {base.metadata.name} is Ready without tokenizer facts")
    return BaseReference(
        name=base.metadata.name,
        digest=_known(base.status.digest),
        chat_template_digest=tokenizer.chat_template_digest,
    )


def _known(digest: str | None) -> str:
    if digest is None:
        raise ValueError("a run's Jobs are made only on a Ready BaseModel")
    return digest
