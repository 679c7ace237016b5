"""What is read from a file of tokens is what was written, wherever rows begin and end."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardrobe_contracts.digests import sha256_file
from wardrobe_trainer.token_file import TokenFile, token_file
from wardrobe_trainer.tokens import Encoded


@st.composite
def rows(draw: st.DrawFn) -> Encoded:
    ids = draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9))
    bounds = sorted(draw(st.sets(st.integers(0, len(ids)), min_size=2, max_size=4)))
    return Encoded(ids, list(zip(bounds[::2], bounds[1::2], strict=False)))


def written(folder: Path, encoded: list[Encoded]) -> Path:
    path = folder / "train.tokens"
    with token_file(path) as file:
        for row in encoded:
            file.add(row)
    return path


@given(encoded=st.lists(rows(), min_size=1, max_size=9))
def test_rows_come_back_as_they_were(encoded: list[Encoded]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = TokenFile(written(Path(folder), encoded))
        assert [(row["input_ids"], row["labels"]) for row in found] == [(row.ids, row.labels) for row in encoded]
        assert list(found.lengths) == [len(row.ids) for row in encoded]


@given(encoded=st.lists(rows(), min_size=2, max_size=9), data=st.data())
def test_rows_are_copied_from_file_to_file(encoded: list[Encoded], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(encoded) - 1), min_size=1))
    with tempfile.TemporaryDirectory() as folder:
        source = TokenFile(written(Path(folder), encoded))
        with token_file(Path(folder) / "copy") as copy:
            for index in chosen:
                copy.add_words(source.words(index))
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
        file.add(Encoded([1 // 0], []))
    assert list(tmp_path.iterdir()) == []
