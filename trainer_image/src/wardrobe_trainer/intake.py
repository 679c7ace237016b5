"""Reading a dataset: each row once, from its text to its side's files. What stays in memory are numbers of it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from wardrobe_contracts.check import HELDOUT_FILE, HELDOUT_TOKENS_FILE, TOKENS_FILE, TRAIN_FILE, CheckConfig, Frame
from wardrobe_models.chat import Chat

from .abreast import abreast
from .bodies import body_tokens
from .dataset import Fault, Faults
from .examine import Examination, Examined
from .files import durably
from .framing import Answers
from .index import Column, Index, Side, Table
from .layouts import kept_messages
from .readers.line import Line
from .reading import DataFile, stream
from .rules import scans
from .token_file import Opened, TokenFile, TokenWriter, labelled, token_file, with_body

PLACES_FILE = "places"
_SIZE = np.dtype("<u4")


@dataclass(frozen=True)
class Taken:
    """All rows, as numbers, and the answers in which the frame is looked for."""

    table: Table
    answers: Answers


class SideFiles:
    """A side's rows as they are kept, and their tokens."""

    def __init__(self, lines: BinaryIO, tokens: TokenWriter) -> None:
        self._lines, self._tokens = lines, tokens
        self._rows = 0

    def add(self, line: bytes, examples: list[Column]) -> None:
        """One row, with its line end."""
        self._lines.write(line)
        for words in examples:
            self._tokens.add(words, self._rows)
        self._rows += 1


@dataclass(frozen=True)
class Sides:
    """The files that a check writes."""

    train: SideFiles
    heldout: SideFiles

    def add(self, found: Examined) -> None:
        """A row where it belongs."""
        if found.side is not Side.DROPPED:
            side = self.heldout if found.side is Side.HELDOUT else self.train
            side.add(f"{found.line}\n".encode(), found.examples)


@contextmanager
def sides(folder: Path, opened: Opened = durably) -> Iterator[Sides]:
    """Files that are whole once the block has ended well: unless opened otherwise, they are not there before. Raises
    OSError."""
    with ExitStack() as stack:

        def side(lines: str, tokens: str) -> SideFiles:
            file = stack.enter_context(opened(folder / lines))
            return SideFiles(file, stack.enter_context(token_file(folder / tokens, opened)))

        yield Sides(side(TRAIN_FILE, TOKENS_FILE), side(HELDOUT_FILE, HELDOUT_TOKENS_FILE))


def take_in(config: CheckConfig, chat: Chat, files: list[DataFile], found: Path) -> Taken:
    """Read, check, tokenise and split all rows, those of `validation.source` last; what is found goes into the folder
    `found`. Raises TaskError where a file or any row is not as it must be."""
    index, answers = Index(found), Answers()
    with sides(found, _for_now) as into, (found / PLACES_FILE).open("wb") as places:
        for apart, file in enumerate(files):
            work = Examination(chat, config, scans(config), apart=bool(apart))
            for row in _examined(work, file):
                into.add(row)
                index.add(_numbers(row, apart))
                if row.side is Side.TRAIN:
                    answers.add(row.prompt ^ row.answer, row.said)
                elif row.side is Side.HELDOUT:
                    places.write(_SIZE.type(len(row.places)).tobytes() + row.places.tobytes())
    return Taken(index.table(), answers)


def _for_now(path: Path) -> BinaryIO:
    """Nobody looks for it after this check."""
    return path.open("wb")


def _examined(work: Examination, file: DataFile) -> Iterator[Examined]:
    """Rows until the first that is wrong; then only faults are looked for. Raises TaskError where there are any."""
    faults, read = Faults(file.field), 0
    for row in abreast(work, stream(file), _size):
        read += 1
        if isinstance(row, Fault):
            faults.add(row)
        elif not faults:
            yield row
    faults.raise_any(read)


def _size(item: Line | Fault) -> int:
    return len(item.text) if isinstance(item, Line) else 0


def _numbers(row: Examined, apart: int) -> tuple[int, ...]:
    """As `index.COLUMNS` has them."""
    return (
        row.number,
        apart,
        row.side,
        row.longest,
        len(row.examples),
        sum(map(len, row.examples)),
        row.labels,
        row.flags,
        row.prompt,
        row.question,
        row.answer,
    )


def keep(found: Path, table: Table, frame: Frame, into: Sides) -> None:
    """What is still on a side, from the files of all rows that were; of held-out rows with their bodies marked."""
    were = table.on(Side.TRAIN) | table.on(Side.LEFT_OUT)
    stay = table["side"][were] == Side.TRAIN
    rows = _rows(found, TRAIN_FILE, TOKENS_FILE, table["examples"][were])
    for line, examples, stays in zip(*rows, stay, strict=True):
        if stays:
            into.train.add(line, examples)
    heldout = _rows(found, HELDOUT_FILE, HELDOUT_TOKENS_FILE, table["examples"][table.on(Side.HELDOUT)])
    for line, examples, places in zip(*heldout, _places(found / PLACES_FILE), strict=True):
        into.heldout.add(line, _with_bodies(examples, body_tokens(places, kept_messages(line), frame)))


def _rows(found: Path, lines: str, tokens: str, counts: Column) -> tuple[Iterator[bytes], Iterator[list[Column]]]:
    """A side's lines, and of each the examples."""
    words = TokenFile(found / tokens).stream()
    return _lines(found / lines), (list(islice(words, int(count))) for count in counts)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _places(path: Path) -> Iterator[Column]:
    with path.open("rb") as file:
        while size := file.read(_SIZE.itemsize):
            yield np.frombuffer(file.read(4 * int(np.frombuffer(size, _SIZE)[0])), dtype=np.int32)


def _with_bodies(examples: list[Column], body: Column) -> list[Column]:
    ends = np.cumsum([labelled(words).sum() for words in examples])
    return [with_body(words, part) for words, part in zip(examples, np.split(body, ends[:-1]), strict=True)]
