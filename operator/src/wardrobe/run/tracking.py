"""What a run's tasks are told to tell a server of MLflow: known before any of them begins, and the same for each."""

from collections.abc import Iterator, Mapping
from typing import Any

from wardrobe.api.finetunejob import FRACTION, SPLIT_SEED, FineTuneJobResource
from wardrobe.base.ready import ReadyBase
from wardrobe.stage.job import FromSecret
from wardrobe_contracts import paths
from wardrobe_contracts.base import Method
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.imports import Imported
from wardrobe_contracts.text import shorten
from wardrobe_contracts.tracking import CREDENTIALS, DatasetInput, MlflowTracking

from .orders import lora, processes, quantization, schedule

TAG_LIMIT = 4000
"""Characters; MLflow takes 8000."""
COUNTS = {
    "rows",
    "train_rows",
    "train_examples",
    "heldout_rows",
    "dropped_rows",
    "left_out_rows",
    "truncated_rows",
    "duplicate_rows",
    "conflicting_prompts",
    "shared_answers",
    "label_tokens",
    "label_density",
    "tokens",
}
"""Of the check's report."""


def tracking(
    run: FineTuneJobResource, base: ReadyBase, report: CheckReport, imported: Imported | None = None
) -> MlflowTracking | None:
    """None where the run is not to be tracked. `imported` is what method Import has taken."""
    wanted = run.spec.mlflow
    if wanted is None:
        return None
    return MlflowTracking(
        uri=wanted.uri,
        experiment=wanted.experiment,
        secret=wanted.credentials.secret_name if wanted.credentials else None,
        run=run.run,
        run_uid=run.metadata.uid,
        dataset=_input(run, report, measured_only=imported is not None),
        parameters={
            **dict(_of_base(run, base)),
            **dict(_of_import(run, imported) if imported else _of_training(run)),
            **dict(_of_dataset(run, report)),
        },
        tags=_tags(run, report),
        artifacts=f"pvc://{paths.STORE_CLAIM}/{_artifacts(run)}",
    )


def _input(run: FineTuneJobResource, report: CheckReport, *, measured_only: bool) -> DatasetInput:
    """Of an import the rows that it is measured on, which may have a file of their own."""
    spec = run.spec.dataset
    own = spec.validation.source
    if measured_only and own and report.validation_digest:
        return DatasetInput(source=own, digest=report.validation_digest, context="evaluation")
    found = DatasetInput(source=spec.source, digest=report.dataset_digest)
    return found.model_copy(update={"context": "evaluation"}) if measured_only else found


def credentials(run: FineTuneJobResource) -> FromSecret | None:
    """As the pods get them. A Secret or an entry that is not there keeps none from starting: the server says so."""
    wanted = run.spec.mlflow
    if wanted is None or wanted.credentials is None:
        return None
    return FromSecret(wanted.credentials.secret_name, CREDENTIALS, optional=True)


def _of_base(run: FineTuneJobResource, base: ReadyBase) -> Iterator[tuple[str, str]]:
    yield "base.name", base.name
    yield "base.digest", base.digest
    yield "method", run.spec.method.value


def _of_training(run: FineTuneJobResource) -> Iterator[tuple[str, str]]:
    yield from _flat("", schedule(run).model_dump(mode="json"))
    if run.spec.method is not Method.FULL:
        yield from _flat("lora.", lora(run).model_dump(mode="json"))
        quantized = quantization(run)
        yield from _flat("quantization.", quantized.model_dump(mode="json") if quantized else {})
    yield "accelerator", run.spec.parallelism.accelerator.value
    yield "processes", str(processes(run).total)
    zero_stage = run.spec.parallelism.zero_stage
    yield from _flat("deepspeed.", {} if zero_stage is None else {"zero_stage": zero_stage})


def _of_import(run: FineTuneJobResource, imported: Imported) -> Iterator[tuple[str, str]]:
    """On what and how it was trained nobody knows."""
    yield "adapter.source", run.spec.brought_in.source
    yield "adapter.digest", imported.digest
    yield "sequence_length", str(run.spec.training.sequence_length)
    yield from _flat("lora.", imported.lora.model_dump(mode="json"))


def _of_dataset(run: FineTuneJobResource, report: CheckReport) -> Iterator[tuple[str, str]]:
    yield "dataset.source", run.spec.dataset.source
    yield "dataset.digest", report.dataset_digest
    given = run.spec.dataset.validation
    split = {} if given.source else {"fraction": FRACTION, "seed": SPLIT_SEED}
    yield from _flat("dataset.validation.", split | given.model_dump(mode="json", exclude_none=True))
    yield from _flat("dataset.validation.", {"digest": report.validation_digest})
    yield from _flat("dataset.", report.model_dump(mode="json", include=COUNTS))


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        elif value is not None:
            yield f"{prefix}{name}", ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _tags(run: FineTuneJobResource, report: CheckReport) -> dict[str, str]:
    tags = {"wardrobe.namespace": run.metadata.namespace, "wardrobe.job": run.metadata.name}
    tags["wardrobe.output"] = run.spec.new_base if run.spec.method is Method.FULL else run.spec.line
    if report.warnings:
        tags["wardrobe.dataset.warnings"] = shorten("; ".join(report.warnings), TAG_LIMIT)
    return tags


def _artifacts(run: FineTuneJobResource) -> str:
    if run.spec.method is Method.FULL:
        return paths.models_in_store(run.spec.new_base)
    return paths.line_in_store(run.spec.line)
