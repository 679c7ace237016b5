"""The second reading of the rows, now that the frame of their answers is known: what needs their text once more.

A greeting that all answers share would make short rows near copies of each other, so it is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wardrobe_contracts.check import HELDOUT_FILE, TRAIN_FILE, CheckConfig, Frame
from wardrobe_contracts.rules import Level, RuleName
from wardrobe_models.chat import Message

from .abreast import abreast
from .dataset import LEARNT
from .framing import body_of
from .index import Column, Side, Table, among
from .layouts import kept_messages
from .rules import common_frame, leakage, near_copies
from .similarity import Signatures, runs, signatures, word_hashes

RUN = 13
"""Words of a run, for leakage."""
SAMPLED = np.uint64(16)
"""One run in so many is looked at, chosen by its hash: the same ones in all rows."""
FEWEST = 2
"""Runs of a held-out row that say enough."""
_RUN = np.dtype([("hash", "u8"), ("row", "u4")])
_AT_ONCE = 2**19
"""Runs that are compared at a time."""


@dataclass(frozen=True)
class Looked:
    """What was found in the texts of a few rows."""

    places: Column
    """In the table."""
    framed: Column
    """Which have the frame."""
    signatures: Column
    runs: Column
    """Those that are looked at, of all of them."""


@dataclass(frozen=True)
class Look:
    """What is asked of texts."""

    frame: Frame
    active: Mapping[RuleName, bool]

    def __call__(self, rows: Sequence[tuple[int, bytes]]) -> list[Looked]:
        """Of rows with their places in the table."""
        places = np.array([place for place, _ in rows], dtype=np.uint32)
        conversations = [kept_messages(line) for _, line in rows]
        words = [word_hashes(text_of(messages, self.frame)) for messages in conversations]
        framed = [has_frame(messages[-1]["content"], self.frame) for messages in conversations]
        near = signatures(words) if self.active[near_copies.RULE.name] else np.zeros((0, 0), np.uint32)
        sampled = _sampled(words, places) if self.active[leakage.RULE.name] else np.zeros(0, dtype=_RUN)
        return [Looked(places, np.array(framed), near, sampled)]


def read_again(folder: Path, table: Table, frame: Frame, config: CheckConfig) -> None:
    """Flag near copies, leaked rows and answers without the frame; leave out what has a near copy held out, or asks
    what a row of `validation.source` asks."""
    train, heldout = table.places(Side.TRAIN), table.places(Side.HELDOUT)
    rules = (near_copies.RULE, leakage.RULE, common_frame.RULE)
    active = {rule.name: rule.of(config)[0] is not Level.OFF for rule in rules}
    near = Signatures(folder)
    with near, (folder / "runs").open("wb") as file:
        for found in _looked(Look(frame, active), folder, train, heldout):
            if active[common_frame.RULE.name]:
                table.mark(found.places[~found.framed], common_frame.PLACE)
            if active[near_copies.RULE.name]:
                near.add(found.signatures)
            file.write(found.runs.tobytes())
    if active[near_copies.RULE.name]:
        repeats, across = near.near_copies(len(train))
        table.mark(np.concatenate([train, heldout])[repeats], near_copies.PLACE)
        _leave_out(table, train[across])
    questions = table["question"]
    asked = among(questions[train], questions[heldout])
    _leave_out(table, train[asked])  # where rows are split, such a row is on the same side
    if active[leakage.RULE.name]:
        table.mark(leaked(folder / "runs", table), leakage.PLACE)


def _leave_out(table: Table, places: Column) -> None:
    table.mark(places, near_copies.PLACE)
    table["side"][places] = Side.LEFT_OUT


def _looked(look: Look, folder: Path, train: Column, heldout: Column) -> Iterator[Looked]:
    return abreast(look, _lines(folder, train, heldout), lambda row: len(row[1]))


def _lines(folder: Path, train: Column, heldout: Column) -> Iterator[tuple[int, bytes]]:
    """Rows as they are kept, the ones to be trained on first, with their places in the table."""
    for name, places in ((TRAIN_FILE, train), (HELDOUT_FILE, heldout)):
        with (folder / name).open("rb") as lines:
            yield from zip(map(int, places), lines, strict=True)


def text_of(messages: list[Message], frame: Frame) -> str:
    """What users say, and the answers without their frame; or a text without it."""
    parts = []
    for message in messages:
        if message["role"] == "user":
            parts.append(message["content"])
        elif message["role"] in LEARNT:
            begin, end, _ = body_of(message["content"], frame)
            parts.append(message["content"][begin:end])
    return "\n".join(parts)


def has_frame(answer: str, frame: Frame) -> bool:
    """Whether it begins and ends as nearly all do."""
    plain = answer.strip()
    return plain.startswith(frame.opening) and plain.endswith(frame.closing)


def _sampled(texts: Sequence[Column], rows: Column) -> Column:
    """The runs of texts that are looked at, each once for a text."""
    kept = [place for place, words in enumerate(texts) if len(words) >= RUN]
    if not kept:
        return np.zeros(0, dtype=_RUN)
    hashes, owners = runs([texts[place] for place in kept], RUN)
    chosen = hashes % SAMPLED == 0
    found = np.zeros(int(chosen.sum()), dtype=_RUN)
    found["hash"], found["row"] = hashes[chosen], rows[kept][owners[chosen]]
    return np.unique(found)


def leaked(path: Path, table: Table) -> Column:
    """Places of held-out rows of whose runs at least half stand in rows that are trained on."""
    runs_of, known = np.zeros(len(table), dtype=np.uint32), np.zeros(len(table), dtype=np.uint32)
    for block in _blocks(path):
        held = block[_on(table, block, Side.HELDOUT)]
        if len(held):
            np.add.at(runs_of, held["row"], 1)
            np.add.at(known, held["row"], _trained_on(held["hash"], path, table))
    return np.flatnonzero((runs_of >= FEWEST) & (2 * known >= runs_of))


def _trained_on(hashes: Column, path: Path, table: Table) -> Column:
    """Which of the runs stand in rows that are trained on."""
    seen = np.zeros(len(hashes), dtype=bool)
    for block in _blocks(path):
        trained = _on(table, block, Side.TRAIN)
        if trained.any():
            seen |= among(hashes, block["hash"][trained])
    return seen


def _on(table: Table, block: Column, side: Side) -> Column:
    chosen: Column = table["side"][block["row"]] == side
    return chosen


def _blocks(path: Path) -> Iterator[Column]:
    """The runs of a file; one block at least, which may be empty."""
    runs_in = path.stat().st_size // _RUN.itemsize
    for begin in range(0, max(1, runs_in), _AT_ONCE):
        yield np.fromfile(path, dtype=_RUN, count=_AT_ONCE, offset=begin * _RUN.itemsize)
