"""Task `check`: is this dataset fit to train on? Splits it, so that what is trained on is what was checked."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from wardrobe_contracts.base import Digest
from wardrobe_contracts.check import HELDOUT_FILE, TRAIN_FILE, CheckConfig, CheckReport, TokenLengths
from wardrobe_contracts.digests import sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_models.chat import Chat, ChatTemplateError

from .advice import Measures, warnings_about
from .console import say
from .dataset import FIELD, Fault, Row, control_token_fault, raise_faults, read_rows
from .files import write_durably
from .framing import find_frame
from .inspection import context_length, load_config
from .model_files import require_unchanged
from .problems import TaskError, bad_data
from .sources import fetch
from .split import held_out, normalised, prompt_key
from .tokens import Encoded, UnstableTokensError, encode, load_chat

DROPPED_SHARE = 0.05
"""Share of rows that may lose their whole answer to truncation and be left out; more is a wrong sequence length."""
LABEL_DENSITY_FLOOR = 0.002
"""Below this a batch of 8 rows of 1,024 tokens carries some 16 labels: noise instead of a gradient."""


@dataclass(frozen=True)
class Example:
    """A row with its tokens, before truncation."""

    row: Row
    encoded: Encoded


def check(config: CheckConfig) -> CheckReport:
    """Check and split a dataset; writes both sides to the output folder. Raises TaskError."""
    base = Path(config.base.folder)
    require_unchanged(base, config.base.fingerprint)
    require_context(config.sequence_length, context_length(load_config(base)))
    dataset = Path(config.dataset_file)
    if config.fetch:
        fetch(config.fetch, dataset, config.source)
    rows = read_rows(dataset, config.source)
    digest = sha256_file(dataset)
    say(f"{len(rows)} rows read")
    examples = encode_rows(load_chat(base), rows)
    kept, dropped = drop_truncated(examples, config.sequence_length, config.source)
    say(f"{len(kept)} rows keep their answers within {config.sequence_length} tokens, {dropped} dropped")
    train, heldout = split(kept, config)
    say(f"split: {len(train)} rows to train on, {len(heldout)} held out")
    write_side(Path(config.output_folder) / TRAIN_FILE, train)
    write_side(Path(config.output_folder) / HELDOUT_FILE, heldout)
    report = report_on(config, digest, examples, train, heldout)
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


def encode_rows(chat: Chat, rows: list[Row]) -> list[Example]:
    """Tokens of every row under the base's own template. Raises TaskError naming the rows that it cannot carry."""
    encoded = [_encode(chat, row) for row in rows]
    raise_faults([item for item in encoded if isinstance(item, Fault)], len(rows))
    return [item for item in encoded if isinstance(item, Example)]


def _encode(chat: Chat, row: Row) -> Example | Fault:
    if fault := control_token_fault(row, chat):
        return fault
    try:
        return Example(row, encode(chat, row.messages))
    except ChatTemplateError:
        rule = "the base's chat template must accept the conversation"
        hint = "Leave out what the template refuses, often a system message"
        return Fault(row.number, Reason.ROLES_INVALID, "the template refuses it", rule, hint)
    except UnstableTokensError as error:
        rule = "an answer must not change the tokens of the prompt before it"
        hint = "Remove white space at the start and end of the messages"
        return Fault(row.number, Reason.DATASET_MALFORMED, str(error), rule, hint)


def drop_truncated(examples: list[Example], length: int, source: str) -> tuple[list[Example], int]:
    """Examples that keep part of their answer, and how many do not. Raises TaskError where those are too many."""
    kept = [example for example in examples if example.encoded.truncated(length).label_tokens]
    dropped = len(examples) - len(kept)
    if dropped > DROPPED_SHARE * len(examples) or not kept:
        longest = max(len(example.encoded.ids) for example in examples)
        raise bad_data(
            Reason.ANSWERS_TRUNCATED,
            field="spec.training.sequenceLength",
            value=str(length),
            rule=f"it cuts off the whole answer of {dropped} of {len(examples)} rows of {source}",
            next_step=f"Set it to {longest}, which keeps every row whole, or shorten the prompts",
        )
    return kept, dropped


def split(examples: list[Example], config: CheckConfig) -> tuple[list[Example], list[Example]]:
    """Training and held-out sides, each in the order of the file. Raises TaskError where one is empty."""
    sides: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        outside = held_out(example.row.messages, seed=config.seed, fraction=config.validation_fraction)
        sides[outside].append(example)
    if not all(sides):
        empty = "training" if not sides[0] else "held-out"
        prompts = len({prompt_key(example.row.messages) for example in examples})
        raise bad_data(
            Reason.SPLIT_EMPTY,
            field="spec.dataset.validation.fraction",
            value=str(config.validation_fraction),
            rule=f"with seed {config.seed} no row of {len(examples)} ({prompts} different prompts) is on the "
            f"{empty} side",
            next_step="Add rows with other prompts, or change fraction or seed",
        )
    return sides


def write_side(path: Path, examples: list[Example]) -> None:
    """Rows as they stood in the dataset, in one atomic step."""
    write_durably(path, "".join(f"{example.row.line}\n" for example in examples).encode())


def report_on(
    config: CheckConfig, digest: Digest, examples: list[Example], train: list[Example], heldout: list[Example]
) -> CheckReport:
    """Count what there is to say about the dataset. Raises TaskError where labels are too sparse to learn from."""
    cut = [example.encoded.truncated(config.sequence_length) for example in train]
    labels, tokens = sum(item.label_tokens for item in cut), sum(len(item.ids) for item in cut)
    require_density(labels, tokens, config.source)
    kept = [*train, *heldout]
    frame = find_frame([example.row.answer for example in train])
    report = CheckReport(
        dataset_digest=digest,
        train_digest=sha256_file(Path(config.output_folder) / TRAIN_FILE),
        heldout_digest=sha256_file(Path(config.output_folder) / HELDOUT_FILE),
        rows=len(examples),
        train_rows=len(train),
        heldout_rows=len(heldout),
        dropped_rows=len(examples) - len(kept),
        truncated_rows=sum(1 for example in kept if len(example.encoded.ids) > config.sequence_length),
        duplicate_rows=duplicates(examples),
        conflicting_prompts=conflicts(examples),
        shared_answers=shared_answers(train, heldout),
        tokens=lengths([len(example.encoded.ids) for example in examples]),
        label_tokens=labels,
        label_density=round(labels / tokens, 4),
        frame=frame,
    )
    distinct = len({normalised(example.row.answer) for example in train})
    measures = Measures(config.sequence_length, distinct, config.validation_fraction)
    return report.model_copy(update={"warnings": warnings_about(report, measures)})


def require_density(labels: int, tokens: int, source: str) -> None:
    """Enough of the tokens must be answers. Raises TaskError."""
    if labels < LABEL_DENSITY_FLOOR * tokens:
        raise bad_data(
            Reason.LABELS_SPARSE,
            field=FIELD,
            value=source,
            rule=f"only {labels} of {tokens} training tokens belong to answers ({labels / tokens:.2%})",
            next_step="Shorten the prompts or lengthen the answers, to at least one answer token in 500",
        )


def lengths(counts: list[int]) -> TokenLengths:
    """Distribution of row lengths in tokens."""
    ordered = sorted(counts)
    return TokenLengths(
        min=ordered[0],
        median=median_low(ordered),
        p95=ordered[(len(ordered) * 95 - 1) // 100],
        max=ordered[-1],
    )


def _answers_by_prompt(examples: list[Example]) -> dict[str, list[str]]:
    answers: dict[str, list[str]] = defaultdict(list)
    for example in examples:
        answers[prompt_key(example.row.messages)].append(normalised(example.row.answer))
    return answers


def duplicates(examples: list[Example]) -> int:
    """Rows that repeat an earlier row's prompt and answer."""
    return sum(len(answers) - len(set(answers)) for answers in _answers_by_prompt(examples).values())


def conflicts(examples: list[Example]) -> int:
    """Prompts that occur with different answers."""
    return sum(1 for answers in _answers_by_prompt(examples).values() if len(set(answers)) > 1)


def shared_answers(train: list[Example], heldout: list[Example]) -> int:
    """Held-out rows whose answer was also trained on, under another prompt."""
    trained = {normalised(example.row.answer) for example in train}
    return sum(1 for example in heldout if normalised(example.row.answer) in trained)
