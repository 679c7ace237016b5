"""What is read from a file of tokens is what was written, wherever rows begin and end."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardrobe_contracts.digests import sha256_file
from wardrobe_trainer.token_file import (
    TokenFile,
    labelled,
    of_body,
    token_file,
    tokens_of,
    with_body,
    words_of,
)
from wardrobe_trainer.tokens import IGNORED, Encoded


@st.composite
def rows(draw: st.DrawFn) -> Encoded:
    ids = draw(st.lists(st.integers(0, 2**30 - 1), min_size=1, max_size=9))
    bounds = sorted(draw(st.sets(st.integers(0, len(ids)), min_size=2, max_size=4)))
    return Encoded(ids, list(zip(bounds[::2], bounds[1::2], strict=False)))


def written(folder: Path, encoded: list[Encoded]) -> Path:
    path = folder / "train.tokens"
    with token_file(path) as file:
        for place, row in enumerate(encoded):
            file.add(words_of(row), place // 2)
    return path


@given(encoded=st.lists(rows(), min_size=1, max_size=9))
def test_rows_come_back_as_they_were(encoded: list[Encoded]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = TokenFile(written(Path(folder), encoded))
        assert [(row["input_ids"], row["labels"]) for row in found] == [(row.ids, row.labels) for row in encoded]
        assert list(found.lengths) == [len(row.ids) for row in encoded]
        assert found.rows.tolist() == [place // 2 for place in range(len(encoded))]


@given(encoded=rows(), data=st.data())
def test_a_body_is_told_of_labelled_tokens_and_changes_nothing_else(encoded: Encoded, data: st.DataObject) -> None:
    words, positions = words_of(encoded), [place for place, label in enumerate(encoded.labels) if label != IGNORED]
    body = data.draw(st.lists(st.booleans(), min_size=len(positions), max_size=len(positions)))
    marked = with_body(words, np.array(body, dtype=bool))
    assert tokens_of(marked).tolist() == encoded.ids
    assert np.flatnonzero(labelled(marked)).tolist() == positions
    assert np.flatnonzero(of_body(marked)).tolist() == [
        place for place, is_body in zip(positions, body, strict=True) if is_body
    ]


@given(encoded=st.lists(rows(), min_size=2, max_size=9), data=st.data())
def test_rows_are_copied_from_file_to_file(encoded: list[Encoded], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(encoded) - 1), min_size=1))
    with tempfile.TemporaryDirectory() as folder:
        source = TokenFile(written(Path(folder), encoded))
        with token_file(Path(folder) / "copy") as copy:
            for place, index in enumerate(chosen):
                copy.add(source.words(index), place // 2)
        assert [words.tolist() for words in source.stream()] == [
            source.words(index).tolist() for index in range(len(encoded))
        ]
        (Path(folder) / "again").mkdir()
        again = written(Path(folder) / "again", [encoded[index] for index in chosen])
        assert sha256_file(Path(folder) / "copy") == sha256_file(again)


def test_places_count_from_the_end_too(tmp_path: Path) -> None:
    found = TokenFile(written(tmp_path, [Encoded([1], [(0, 1)]), Encoded([2, 3], [(1, 2)])]))
    assert (found[-1], len(found)) == ({"input_ids": [2, 3], "labels": [-100, 3]}, 2)
    assert found[:1] == [found[0]]
    with pytest.raises(IndexError):
        found[2]


def test_nothing_is_there_before_all_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), token_file(tmp_path / "train.tokens") as file:
        file.add(words_of(Encoded([1 // 0], [])), 0)
    assert list(tmp_path.iterdir()) == []
