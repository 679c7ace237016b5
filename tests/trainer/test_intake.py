"""A dataset that is read row by row comes to what it would come to if all of it were held at once."""

import json
import multiprocessing
import os
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median_low
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardrobe_contracts.check import CheckConfig
from wardrobe_models.chat import Chat
from wardrobe_trainer import index
from wardrobe_trainer.abreast import BATCH, abreast
from wardrobe_trainer.dataset import Row
from wardrobe_trainer.framing import find_frame
from wardrobe_trainer.index import Side, Table
from wardrobe_trainer.intake import take_in
from wardrobe_trainer.reading import DataFile, read_rows
from wardrobe_trainer.split import held_out, normalised, prompt_key
from wardrobe_trainer.token_file import TokenFile
from wardrobe_trainer.tokens import Encoded, encode

LENGTH = 24
WORDS = st.lists(st.sampled_from(["heart", "Heart", "lung", "pain", "why", "ﬁbre", "call us"]), min_size=1, max_size=12)
TURN = st.tuples(WORDS.map(" ".join), WORDS.map(" ".join))
CONVERSATIONS = st.lists(st.lists(TURN, min_size=1, max_size=2), min_size=1, max_size=40)


def line(turns: list[tuple[str, str]]) -> str:
    roles = [("user", "assistant")] * len(turns)
    pairs = [pair for role, turn in zip(roles, turns, strict=True) for pair in zip(role, turn, strict=True)]
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in pairs]})


def order(folder: Path) -> CheckConfig:
    values: dict[str, Any] = {"base": {"folder": "", "fingerprint": "sha256:" + "0" * 64}}
    values |= {"dataset_file": str(folder / "x.jsonl")}
    values |= {"source": "pvc://data/x.jsonl", "sequence_length": LENGTH, "validation_fraction": 0.3, "seed": 7}
    return CheckConfig.model_validate(values | {"output_folder": str(folder / "out")})


class AtOnce:
    """The same by lists and dictionaries."""

    def __init__(self, chat: Chat, rows: list[Row]) -> None:
        self.whole = [one for row in rows for one in encode(chat, row.messages)]
        self.cut = [encoded.truncated(LENGTH) for encoded in self.whole]
        self.rows = rows
        self.sides = [self.side(*pair) for pair in zip(rows, self.cut, strict=True)]
        self.answers: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            self.answers[prompt_key(row.messages)].append(normalised(row.answer))

    def side(self, row: Row, encoded: Encoded) -> Side:
        if not encoded.label_tokens:
            return Side.DROPPED
        return Side(held_out(row.messages, seed=7, fraction=0.3))

    def on(self, side: Side) -> list[Row]:
        return [row for row, found in zip(self.rows, self.sides, strict=True) if found is side]

    def texts(self, side: Side) -> list[str]:
        return [normalised(row.answer) for row in self.on(side)]


def counted(table: Table) -> tuple[object, ...]:
    lengths = index.lengths(table["longest"])
    return (
        table["number"].tolist(),
        table["side"].tolist(),
        table["tokens"].sum(),
        table["labels"].sum(),
        (lengths.min, lengths.median, lengths.max),
        index.duplicates(table).sum(),
        len(index.conflicts(table)),
        index.shared_answers(table).sum(),
    )


def expected(found: AtOnce) -> tuple[object, ...]:
    whole = [len(encoded.ids) for encoded in found.whole]
    kept = [encoded for encoded in found.cut if encoded.label_tokens]
    trained = set(found.texts(Side.TRAIN))
    return (
        [row.number for row in found.rows],
        [int(side) for side in found.sides],
        sum(len(encoded.ids) for encoded in kept),
        sum(encoded.label_tokens for encoded in kept),
        (min(whole), median_low(whole), max(whole)),
        sum(len(answers) - len(set(answers)) for answers in found.answers.values()),
        sum(1 for answers in found.answers.values() if len(set(answers)) > 1),
        sum(1 for text in found.texts(Side.HELDOUT) if text in trained),
    )


@settings(deadline=None)
@given(conversations=CONVERSATIONS)
def test_streaming_equals_at_once(chat: Chat, conversations: list[list[tuple[str, str]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "x.jsonl").write_text("\n".join(line(turns) for turns in conversations))
        config = order(folder)
        (folder / "out").mkdir()
        taken = take_in(config, chat, [DataFile(folder / "x.jsonl", "x")], folder / "out")
        found = AtOnce(chat, read_rows(Path(config.dataset_file), "x"))
        assert counted(taken.table) == expected(found)
        assert taken.answers.frame() == find_frame([row.answer for row in found.on(Side.TRAIN)])
        for side in (Side.TRAIN, Side.HELDOUT):
            lines = (folder / "out" / f"{side.name.lower()}.jsonl").read_text().splitlines()
            assert lines == [row.line for row in found.on(side)]
        trained = [cut for cut, side in zip(found.cut, found.sides, strict=True) if side is Side.TRAIN]
        tokens = TokenFile(folder / "out" / "train.tokens")
        assert [(row["input_ids"], row["labels"]) for row in tokens] == [(row.ids, row.labels) for row in trained]


@given(sizes=st.lists(st.integers(0, 9), max_size=3 * BATCH))
def test_work_abreast_keeps_the_order(sizes: list[int]) -> None:
    assert list(abreast(doubled, sizes, size=int, most=5)) == [2 * size for size in sizes]


def doubled(sizes: Sequence[int]) -> list[int]:
    return [2 * size for size in sizes]


def test_processes_keep_the_order_too() -> None:
    assert list(abreast(with_process, range(2000), lambda _: 0, processes=2)) == [2 * size for size in range(2000)]


def test_a_process_that_is_killed_is_said_as_a_lack_of_memory() -> None:
    with pytest.raises(MemoryError, match="was killed"):
        list(abreast(killed, range(2000), lambda _: 0, processes=2))


def killed(sizes: Sequence[int]) -> list[int]:
    if sizes[0] > 1000:
        os.kill(os.getpid(), signal.SIGKILL)
    return doubled(sizes)


def test_what_is_wrong_with_the_rows_ends_the_processes() -> None:
    """Whoever reads them does not wait for what is on its way."""

    def rows() -> Iterator[int]:
        yield from range(1000)
        raise ValueError("no such row")

    with pytest.raises(ValueError, match="no such row"):
        list(abreast(doubled, rows(), lambda _: 0, processes=2))
    assert not multiprocessing.active_children()


def with_process(sizes: Sequence[int]) -> list[int]:
    time.sleep(0.0001 * (sizes[0] % 3))
    return doubled(sizes)
