"""Reading a dataset: each row once, from its text to its side's files. What stays in memory are numbers of it."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from wardrobe_contracts.check import HELDOUT_FILE, TOKENS_FILE, TRAIN_FILE, CheckConfig
from wardrobe_contracts.exits import Reason
from wardrobe_models.chat import Chat, ChatTemplateError

from .abreast import abreast
from .dataset import Fault, Faults, Row, control_token_fault, stream_rows
from .files import durably
from .framing import Answers
from .index import Index, Side, Table, hash64
from .rules import Scans, flags, scans
from .split import held_out, normalised, prompt_key
from .token_file import TokenFile, TokenWriter, token_file
from .tokens import Encoded, UnlabelledError, encode

_ACCEPTED = "the base's chat template must accept the conversation"
BYTES_AT_ONCE = 2**20
"""Of rows that a thread takes together. A few of such batches are on their way, some twenty times as large as text."""


@dataclass(frozen=True)
class Examined:
    """A row with what becomes of it."""

    row: Row
    longest: int
    """Tokens of its longest example, before truncation."""
    examples: list[Encoded]
    """After truncation, those that keep some of their labels."""
    side: Side
    flags: int
    prompt: int
    answer: int


@dataclass(frozen=True)
class Taken:
    """All rows, as numbers, and the answers in which the frame is looked for."""

    table: Table
    answers: Answers


@dataclass(frozen=True)
class Sides:
    """The files that a check writes."""

    train: BinaryIO
    heldout: BinaryIO
    tokens: TokenWriter

    def add(self, found: Examined) -> None:
        """A row as it stood in the dataset, and its tokens where it is trained on."""
        if found.side is Side.DROPPED:
            return
        (self.heldout if found.side is Side.HELDOUT else self.train).write(f"{found.row.line}\n".encode())
        if found.side is Side.TRAIN:
            for example in found.examples:
                self.tokens.add(example)


def keep(found: Path, table: Table, into: Sides) -> None:
    """What is still on a side, from the files of all rows that were."""
    were = table.on(Side.TRAIN) | table.on(Side.LEFT_OUT)
    sides_of, examples = table["side"][were], table["examples"][were]
    tokens = TokenFile(found / TOKENS_FILE).stream()
    with (found / TRAIN_FILE).open("rb") as lines:
        for line, side, count in zip(lines, sides_of, examples, strict=True):
            row = list(islice(tokens, int(count)))
            if side == Side.TRAIN:
                into.train.write(line)
                for words in row:
                    into.tokens.add_words(words)
    with (found / HELDOUT_FILE).open("rb") as lines:
        shutil.copyfileobj(lines, into.heldout)


@contextmanager
def sides(folder: Path) -> Iterator[Sides]:
    """Files that are there once the block has ended well, and not before. Raises OSError."""
    with ExitStack() as stack:
        train, heldout = (stack.enter_context(durably(folder / name)) for name in (TRAIN_FILE, HELDOUT_FILE))
        yield Sides(train, heldout, stack.enter_context(token_file(folder / TOKENS_FILE)))


def take_in(config: CheckConfig, chat: Chat, into: Sides) -> Taken:
    """Read, check, tokenise and split all rows. Raises TaskError where the file or any row is not as it must be."""
    faults, index, answers, read = Faults(), Index(), Answers(), 0
    rows = stream_rows(Path(config.dataset_file), config.source)
    for found in abreast(partial(examine, chat, config, scans(config)), rows, _size, BYTES_AT_ONCE):
        read += 1
        if isinstance(found, Fault):
            faults.add(found)
        elif not faults:
            into.add(found)
            index.add(_numbers(found))
            if found.side is Side.TRAIN:
                answers.add(found.prompt ^ found.answer, found.row.answer)
    faults.raise_any(read)
    return Taken(index.table(), answers)


def _size(item: Row | Fault) -> int:
    return len(item.line) if isinstance(item, Row) else 0


def examine(chat: Chat, config: CheckConfig, active: Scans, row: Row | Fault) -> Examined | Fault:
    """One row under the base's own template, and its side; or what is wrong with it."""
    if isinstance(row, Fault):
        return row
    encoded = encode_row(chat, row)
    if isinstance(encoded, Fault):
        return encoded
    cut = [example.truncated(config.sequence_length) for example in encoded]
    examples = [example for example in cut if example.label_tokens]
    outside = held_out(row.messages, seed=config.seed, fraction=config.validation_fraction)
    side = Side.DROPPED if not examples else Side.HELDOUT if outside else Side.TRAIN
    longest = max(len(example.ids) for example in encoded)
    prompt, answer = hash64(prompt_key(row.messages)), hash64(normalised(row.answer))
    return Examined(row, longest, examples, side, flags(row, active), prompt, answer)


def encode_row(chat: Chat, row: Row) -> list[Encoded] | Fault:
    """A row's examples, or why the base cannot be trained on it."""
    if fault := control_token_fault(row, chat):
        return fault
    try:
        return encode(chat, row.messages)
    except ChatTemplateError as error:
        found = "the template refuses it" if error.own_words else "the template fails on it"
        rule = f"the base's chat template says: {error.own_words}" if error.own_words else _ACCEPTED
        hint = "Leave out what the template refuses"
        return Fault(row.number, Reason.ROLES_INVALID, found, rule, hint)
    except UnlabelledError as error:
        hint = "Write the answers as plain text, or leave the rows out"
        return Fault(row.number, Reason.DATASET_MALFORMED, "an answer cannot be labelled", str(error), hint)


def _numbers(found: Examined) -> tuple[int, ...]:
    """As `index.COLUMNS` has them."""
    tokens = sum(len(example.ids) for example in found.examples)
    labels = sum(example.label_tokens for example in found.examples)
    return (
        found.row.number,
        found.side,
        found.longest,
        len(found.examples),
        tokens,
        labels,
        found.flags,
        found.prompt,
        found.answer,
    )
