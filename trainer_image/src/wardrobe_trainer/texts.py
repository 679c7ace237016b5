"""The second reading of the rows, now that the frame of their answers is known: what needs their text once more.

A greeting that all answers share would make short rows near copies of each other, so it is left out.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wardrobe_contracts.check import HELDOUT_FILE, TRAIN_FILE, CheckConfig, Frame
from wardrobe_contracts.rules import Level
from wardrobe_models.chat import Message

from .framing import body_of
from .index import Column, Side, Table
from .rules import common_frame, leakage, near_copies
from .similarity import Signatures, runs, word_hashes

RUN = 13
"""Words of a run, for leakage."""
SAMPLED = np.uint64(16)
"""One run in so many is looked at, chosen by its hash: the same ones in all rows."""
FEWEST = 2
"""Runs of a held-out row that say enough."""
_RUN = np.dtype([("hash", "u8"), ("row", "u4")])
_AT_ONCE = 2**18
"""Runs that are compared at a time."""


def read_again(folder: Path, table: Table, frame: Frame, config: CheckConfig) -> None:
    """Flag near copies, leaked rows and answers without the frame; leave out what has a near copy held out."""
    train, heldout = table.places(Side.TRAIN), table.places(Side.HELDOUT)
    on = {rule: rule.of(config)[0] is not Level.OFF for rule in (near_copies.RULE, leakage.RULE, common_frame.RULE)}
    signatures = Signatures(folder)
    with signatures, (folder / "runs").open("wb") as file:
        for name, places in ((TRAIN_FILE, train), (HELDOUT_FILE, heldout)):
            for place, messages in zip(places, _conversations(folder / name), strict=True):
                if on[common_frame.RULE] and not has_frame(messages[-1]["content"], frame):
                    table.mark(place, common_frame.PLACE)
                words = word_hashes(text_of(messages, frame))
                if on[near_copies.RULE]:
                    signatures.add(words)
                if on[leakage.RULE]:
                    _sampled(words, int(place)).tofile(file)
    if on[near_copies.RULE]:
        repeats, across = signatures.near_copies(len(train))
        both = np.concatenate([train, heldout])
        table.mark(both[repeats], near_copies.PLACE)
        table.mark(train[across], near_copies.PLACE)
        table["side"][train[across]] = Side.LEFT_OUT
    if on[leakage.RULE]:
        table.mark(leaked(folder / "runs", table), leakage.PLACE)


def _conversations(path: Path) -> Iterator[list[Message]]:
    with path.open("rb") as lines:
        for line in lines:
            yield json.loads(line)["messages"]


def text_of(messages: list[Message], frame: Frame) -> str:
    """What users say, and the answers without their frame."""
    parts = []
    for message in messages:
        if message["role"] == "user":
            parts.append(message["content"])
        elif message["role"] == "assistant":
            begin, end, _ = body_of(message["content"], frame)
            parts.append(message["content"][begin:end])
    return "\n".join(parts)


def has_frame(answer: str, frame: Frame) -> bool:
    """Whether it begins and ends as nearly all do."""
    plain = answer.strip()
    return plain.startswith(frame.opening) and plain.endswith(frame.closing)


def _sampled(words: Column, row: int) -> Column:
    """The runs of a text that are looked at."""
    if len(words) < RUN:
        return np.zeros(0, dtype=_RUN)
    hashes = np.unique(runs(words, RUN))
    hashes = hashes[hashes % SAMPLED == 0]
    found = np.zeros(len(hashes), dtype=_RUN)
    found["hash"], found["row"] = hashes, row
    return found


def leaked(path: Path, table: Table) -> Column:
    """Places of held-out rows of whose runs at least half stand in rows that are trained on."""
    held = np.concatenate([block[_on(table, block, Side.HELDOUT)] for block in _blocks(path)])
    hashes, which = np.unique(held["hash"], return_inverse=True)
    seen = np.zeros(len(hashes), dtype=bool)
    for block in _blocks(path):
        seen |= np.isin(hashes, block["hash"][_on(table, block, Side.TRAIN)])
    rows, inverse, runs_of = np.unique(held["row"], return_inverse=True, return_counts=True)
    known = np.bincount(inverse, weights=seen[which], minlength=len(rows))
    chosen: Column = rows[(runs_of >= FEWEST) & (2 * known >= runs_of)]
    return chosen


def _on(table: Table, block: Column, side: Side) -> Column:
    chosen: Column = table["side"][block["row"]] == side
    return chosen


def _blocks(path: Path) -> Iterator[Column]:
    """The runs of a file; one block at least, which may be empty."""
    runs_in = path.stat().st_size // _RUN.itemsize
    for begin in range(0, max(1, runs_in), _AT_ONCE):
        yield np.fromfile(path, dtype=_RUN, count=_AT_ONCE, offset=begin * _RUN.itemsize)
