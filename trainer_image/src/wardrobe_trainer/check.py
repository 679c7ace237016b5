"""Task `check`: is this dataset fit to train on? Splits it, so that what is trained on is what was checked."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wardrobe_contracts.check import (
    HELDOUT_FILE,
    HELDOUT_TOKENS_FILE,
    REPORT_FILE,
    TOKENS_FILE,
    TRAIN_FILE,
    CheckConfig,
    CheckReport,
    Frame,
)
from wardrobe_contracts.digests import sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.remote import RemoteFile
from wardrobe_contracts.rules import DatasetReport

from .console import say
from .dataset import FIELD, VALIDATION_FIELD
from .files import clear_left, pod, write_durably
from .index import Side, Table, conflicts, different, duplicates, lengths, shared_answers, trained
from .inspection import context_length, load_config
from .intake import keep, sides, take_in
from .model_files import require_unchanged
from .problems import TaskError, bad_data
from .readers import format_of
from .reading import DataFile, at
from .rules import Judged, judge
from .rules.rule import Evidence
from .sources import fetch, taken_over
from .sources.faults import Asked
from .store import require_suitable
from .texts import read_again
from .tokens import load_chat

TAKEN = ".taken"


def check(config: CheckConfig) -> CheckReport:
    """Check and split a dataset; writes both sides to the output folder. Raises TaskError."""
    base = Path(config.base.folder)
    require_unchanged(base, config.base.fingerprint)
    require_context(config.sequence_length, context_length(load_config(base)))
    folder = Path(config.output_folder)
    clear_left(folder)
    require_suitable(folder)
    files = files_of(config)
    for file in files:
        brought(file)
    with scratch(folder) as found:
        taken = take_in(config, load_chat(base, config.base.chat_prelude), [file.data for file in files], found)
        table, frame = taken.table, taken.answers.frame()
        say(f"{len(table)} rows read")
        require_answers(table, config)
        read_again(found, table, frame, config)
        require_sides(table, config)
        judged = judge(Evidence(table, config))
        tell(judged, len(table), config)
        with sides(folder) as into:
            keep(found, table, frame, into)
        return report_on(config, [file.data.path for file in files], table, frame, judged)


@dataclass(frozen=True)
class Source:
    """A file to read, and where it is fetched from, if it is."""

    data: DataFile
    fetch: RemoteFile | None


def files_of(config: CheckConfig) -> list[Source]:
    """The dataset, and the held-out set where that has a file of its own. What is to be fetched has its place in this
    pod's own folder, wherever the order names one for it."""
    remote = config.fetch or (config.validation and config.validation.fetch)
    own = taken_over(Path(config.output_folder)) if remote else None

    def source(file: str, name: str, fetched: RemoteFile | None, field: str) -> Source:
        file_format, path = config.file_format or format_of(name), Path(file)
        found = own / path.name if own and fetched else path
        return Source(DataFile(found, name, file_format, config.columns, field), fetched)

    found = [source(config.dataset_file, config.source, config.fetch, FIELD)]
    if apart := config.validation:
        found.append(source(apart.dataset_file, apart.source, apart.fetch, VALIDATION_FIELD))
    return found


def brought(file: Source) -> None:
    """Fetch it, where it is not in the pod. Raises TaskError."""
    if file.fetch is None:
        return
    try:
        fetch(file.fetch, file.data.path, Asked(file.data.source))
    except TaskError as error:
        raise at(file.data.field, error) from error


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A place on the same volume for what only this pod's check needs."""
    found = folder / f"{TAKEN}.{pod()}"
    found.mkdir(parents=True)
    try:
        yield found
    finally:
        shutil.rmtree(found, ignore_errors=True)


def tell(judged: list[Judged], rows: int, config: CheckConfig) -> None:
    """Write all that was found. Raises TaskError with the first thing that ends the run."""
    report = DatasetReport(source=config.source, rows=rows, findings=[item.finding for item in judged])
    write_durably(Path(config.output_folder) / REPORT_FILE, report.model_dump_json(by_alias=True, indent=2).encode())
    for item in judged:
        say(f"{'failure' if item.fails else 'warning'}: {item.finding.says}")
    if failed := next((item for item in judged if item.fails), None):
        raise failed.error(config.source)


def require_context(sequence_length: int, context: int) -> None:
    """A sequence longer than the base's context has positions that it never saw. Raises TaskError."""
    if sequence_length > context:
        problem = Problem(
            field="spec.training.sequenceLength",
            value=str(sequence_length),
            rule=f"the base reads at most {context} tokens",
            next_step=f"Set it to {context} or less",
        )
        raise TaskError(ExitCode.BAD_CONFIG, Reason.CONFIG_INVALID, problem)


def require_answers(table: Table, config: CheckConfig) -> None:
    """Some rows must keep part of their answers. Raises TaskError."""
    dropped, rows = table.count(Side.DROPPED), len(table)
    say(f"{rows - dropped} rows keep their answers within {config.sequence_length} tokens, {dropped} dropped")
    if dropped == rows:
        raise bad_data(
            Reason.ANSWERS_TRUNCATED,
            field="spec.training.sequenceLength",
            value=str(config.sequence_length),
            rule=f"it cuts off the whole answer of {dropped} of {rows} rows of {config.source}",
            next_step=f"Set it to {table['longest'].max()}, which keeps every row whole, or shorten the prompts",
        )


def require_sides(table: Table, config: CheckConfig) -> None:
    """Neither side may be empty. Raises TaskError."""
    train, heldout, left_out = (table.count(side) for side in (Side.TRAIN, Side.HELDOUT, Side.LEFT_OUT))
    say(f"{'held-out set' if config.validation else 'split'}: {train} rows to train on, {heldout} held out")
    if train and heldout:
        return
    if config.validation is not None:
        lacking = "held-out row" if not heldout else "training row"
        raise bad_data(
            Reason.SPLIT_EMPTY,
            field=VALIDATION_FIELD,
            value=config.validation.source,
            rule=f"no {lacking} is left: {left_out} training rows are near copies of held-out ones or ask the same, "
            f"and {table.count(Side.DROPPED)} rows lose their answers to the sequence length",
            next_step="Name a file with other rows than the dataset's",
        )
    prompts, empty = different(table["prompt"][table.kept]), "held-out" if train else "training"
    raise bad_data(
        Reason.SPLIT_EMPTY,
        field="spec.dataset.validation.fraction",
        value=str(config.validation_fraction),
        rule=f"with seed {config.seed} no row of {train + heldout} ({prompts} different prompts) is on the {empty} "
        "side",
        next_step="Add rows with other prompts, or change fraction or seed",
    )


def report_on(config: CheckConfig, files: list[Path], table: Table, frame: Frame, judged: list[Judged]) -> CheckReport:
    """Count what there is to say about the dataset."""
    folder, (labels, tokens) = Path(config.output_folder), trained(table)
    dataset, *own = files
    return CheckReport(
        dataset_digest=sha256_file(dataset),
        validation_digest=sha256_file(own[0]) if own else None,
        train_digest=sha256_file(folder / TRAIN_FILE),
        heldout_digest=sha256_file(folder / HELDOUT_FILE),
        tokens_digest=sha256_file(folder / TOKENS_FILE),
        heldout_tokens_digest=sha256_file(folder / HELDOUT_TOKENS_FILE),
        rows=len(table),
        train_rows=table.count(Side.TRAIN),
        heldout_rows=table.count(Side.HELDOUT),
        train_examples=int(table["examples"][table.on(Side.TRAIN)].sum()),
        dropped_rows=table.count(Side.DROPPED),
        left_out_rows=table.count(Side.LEFT_OUT),
        truncated_rows=int((table["longest"][table.kept] > config.sequence_length).sum()),
        duplicate_rows=int(duplicates(table).sum()),
        conflicting_prompts=len(conflicts(table)),
        shared_answers=int(shared_answers(table).sum()),
        tokens=lengths(table["longest"]),
        label_tokens=labels,
        label_density=round(labels / tokens, 4),
        frame=frame,
        warnings=[item.finding.says for item in judged],
        findings=[item.finding for item in judged],
    )
