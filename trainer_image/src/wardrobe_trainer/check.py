"""Task `check`: is this dataset fit to train on? Splits it, so that what is trained on is what was checked."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wardrobe_contracts.check import HELDOUT_FILE, REPORT_FILE, TOKENS_FILE, TRAIN_FILE, CheckConfig, CheckReport, Frame
from wardrobe_contracts.digests import sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.rules import DatasetReport

from .console import say
from .files import write_durably
from .index import Side, Table, conflicts, different, duplicates, lengths, shared_answers, trained
from .inspection import context_length, load_config
from .intake import keep, sides, take_in
from .model_files import require_unchanged
from .problems import TaskError, bad_data
from .rules import Judged, judge
from .rules.rule import Evidence
from .sources import fetch
from .texts import read_again
from .tokens import load_chat

TAKEN = ".taken"


def check(config: CheckConfig) -> CheckReport:
    """Check and split a dataset; writes both sides to the output folder. Raises TaskError."""
    base = Path(config.base.folder)
    require_unchanged(base, config.base.fingerprint)
    require_context(config.sequence_length, context_length(load_config(base)))
    folder, dataset = Path(config.output_folder), Path(config.dataset_file)
    if config.fetch:
        fetch(config.fetch, dataset, config.source)
    with scratch(folder) as found:
        with sides(found) as files:
            taken = take_in(config, load_chat(base, config.base.chat_prelude), files)
        table, frame = taken.table, taken.answers.frame()
        say(f"{len(table)} rows read")
        require_answers(table, config)
        read_again(found, table, frame, config)
        require_sides(table, config)
        judged = judge(Evidence(table, config))
        tell(judged, len(table), config)
        with sides(folder) as files:
            keep(found, table, files)
    report = report_on(config, table, frame, judged)
    if config.fetch:
        dataset.unlink()  # the rows are in both sides now
    return report


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A place on the same volume for what only the check needs; nothing of an earlier check is in it."""
    found = folder / TAKEN
    shutil.rmtree(found, ignore_errors=True)
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


def report_on(config: CheckConfig, table: Table, frame: Frame, judged: list[Judged]) -> CheckReport:
    """Count what there is to say about the dataset."""
    folder, (labels, tokens) = Path(config.output_folder), trained(table)
    return CheckReport(
        dataset_digest=sha256_file(Path(config.dataset_file)),
        train_digest=sha256_file(folder / TRAIN_FILE),
        heldout_digest=sha256_file(folder / HELDOUT_FILE),
        tokens_digest=sha256_file(folder / TOKENS_FILE),
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
