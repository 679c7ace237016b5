"""Task `check`: is this dataset fit to train on? Splits it, so that what is trained on is what was checked."""

from pathlib import Path

from wardrobe_contracts.base import Digest
from wardrobe_contracts.check import HELDOUT_FILE, TOKENS_FILE, TRAIN_FILE, CheckConfig, CheckReport, Frame
from wardrobe_contracts.digests import sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem

from .advice import Measures, warnings_about
from .console import say
from .dataset import FIELD
from .index import Side, Table, conflicts, different, duplicates, lengths, shared_answers
from .inspection import context_length, load_config
from .intake import sides, take_in
from .model_files import require_unchanged
from .problems import TaskError, bad_data
from .sources import fetch
from .tokens import load_chat

DROPPED_SHARE = 0.05
"""Share of rows that may lose their whole answer to truncation and be left out; more is a wrong sequence length."""
LABEL_DENSITY_FLOOR = 0.002
"""Below this a batch of 8 rows of 1,024 tokens carries some 16 labels: noise instead of a gradient."""


def check(config: CheckConfig) -> CheckReport:
    """Check and split a dataset; writes both sides to the output folder. Raises TaskError."""
    base, folder = Path(config.base.folder), Path(config.output_folder)
    require_unchanged(base, config.base.fingerprint)
    require_context(config.sequence_length, context_length(load_config(base)))
    dataset = Path(config.dataset_file)
    if config.fetch:
        fetch(config.fetch, dataset, config.source)
    with sides(folder) as files:
        taken = take_in(config, load_chat(base), files)
        say(f"{len(taken.table)} rows read")
        require_answers(taken.table, config)
        require_sides(taken.table, config)
        require_density(taken.table, config.source)
    report = report_on(config, sha256_file(Path(config.dataset_file)), taken.table, taken.answers.frame())
    for warning in report.warnings:
        say(f"warning: {warning}")
    if config.fetch:
        dataset.unlink()  # the rows are in both sides now
    return report


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
    """Nearly all rows must keep part of their answers. Raises TaskError."""
    dropped, rows = table.count(Side.DROPPED), len(table)
    say(f"{rows - dropped} rows keep their answers within {config.sequence_length} tokens, {dropped} dropped")
    if dropped > DROPPED_SHARE * rows or dropped == rows:
        raise bad_data(
            Reason.ANSWERS_TRUNCATED,
            field="spec.training.sequenceLength",
            value=str(config.sequence_length),
            rule=f"it cuts off the whole answer of {dropped} of {rows} rows of {config.source}",
            next_step=f"Set it to {table['longest'].max()}, which keeps every row whole, or shorten the prompts",
        )


def require_sides(table: Table, config: CheckConfig) -> None:
    """Neither side may be empty. Raises TaskError."""
    train, heldout = table.count(Side.TRAIN), table.count(Side.HELDOUT)
    say(f"split: {train} rows to train on, {heldout} held out")
    if not train or not heldout:
        prompts, empty = different(table["prompt"][table.kept]), "held-out" if train else "training"
        raise bad_data(
            Reason.SPLIT_EMPTY,
            field="spec.dataset.validation.fraction",
            value=str(config.validation_fraction),
            rule=f"with seed {config.seed} no row of {train + heldout} ({prompts} different prompts) is on the {empty} "
            "side",
            next_step="Add rows with other prompts, or change fraction or seed",
        )


def require_density(table: Table, source: str) -> None:
    """Enough of the tokens must be answers to learn anything from. Raises TaskError."""
    labels, tokens = trained(table)
    if labels < LABEL_DENSITY_FLOOR * tokens:
        raise bad_data(
            Reason.LABELS_SPARSE,
            field=FIELD,
            value=source,
            rule=f"only {labels} of {tokens} training tokens belong to answers ({labels / tokens:.2%})",
            next_step="Shorten the prompts or lengthen the answers, to at least one answer token in 500",
        )


def trained(table: Table) -> tuple[int, int]:
    """Tokens of the training side that carry labels, and all of them."""
    train = table.on(Side.TRAIN)
    return int(table["labels"][train].sum()), int(table["tokens"][train].sum())


def report_on(config: CheckConfig, digest: Digest, table: Table, frame: Frame) -> CheckReport:
    """Count what there is to say about the dataset."""
    folder, (labels, tokens) = Path(config.output_folder), trained(table)
    report = CheckReport(
        dataset_digest=digest,
        train_digest=sha256_file(folder / TRAIN_FILE),
        heldout_digest=sha256_file(folder / HELDOUT_FILE),
        tokens_digest=sha256_file(folder / TOKENS_FILE),
        rows=len(table),
        train_rows=table.count(Side.TRAIN),
        heldout_rows=table.count(Side.HELDOUT),
        dropped_rows=table.count(Side.DROPPED),
        truncated_rows=int((table["longest"][table.kept] > config.sequence_length).sum()),
        duplicate_rows=int(duplicates(table).sum()),
        conflicting_prompts=conflicts(table),
        shared_answers=int(shared_answers(table).sum()),
        tokens=lengths(table["longest"]),
        label_tokens=labels,
        label_density=round(labels / tokens, 4),
        frame=frame,
    )
    distinct = different(table["answer"][table.on(Side.TRAIN)])
    measures = Measures(config.sequence_length, distinct, config.validation_fraction)
    return report.model_copy(update={"warnings": warnings_about(report, measures)})
