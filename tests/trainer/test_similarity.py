"""Near copies are found, wherever their other is, and what only resembles a text is not taken for one."""

import random
import tempfile
from pathlib import Path

import numpy as np
from datasketch import MinHash  # type: ignore[import-untyped]  # datasketch ships no types
from hypothesis import given, settings
from hypothesis import strategies as st

from wardrobe_trainer.similarity import BANDS, RUN, SIMILAR, WIDTH, Signatures, runs, signatures, word_hashes

VOCABULARY = [f"word{number}" for number in range(2000)]
DICE = random.Random(7)  # noqa: S311  not for secrets


def text(words: int = 120) -> list[str]:
    return DICE.choices(VOCABULARY, k=words)


def changed(words: list[str], times: int) -> list[str]:
    """With so many words replaced, far from each other."""
    found = list(words)
    for place in range(times):
        found[place * len(words) // times] = f"other{DICE.random()}"
    return found


def near_copies(training: list[list[str]], heldout: list[list[str]]) -> tuple[list[bool], list[bool]]:
    with tempfile.TemporaryDirectory() as folder:
        found = Signatures(Path(folder))
        with found:
            for words in [*training, *heldout]:
                found.add(signatures([word_hashes(" ".join(words))]))
        repeats, across = found.near_copies(len(training))
        return repeats.tolist(), across.tolist()


def test_planted_copies_are_found_and_nothing_else() -> None:
    """Four of 120 words replaced leave 108 of 132 runs of three: similarity 0.82."""
    texts = [text() for _ in range(400)]
    repeats, across = near_copies(texts[:300], [*texts[300:], *(changed(found, 4) for found in texts[:100])])
    assert sum(across[:100]) >= 95
    assert not any(across[100:])
    assert not any(repeats)


def test_what_shares_half_of_its_words_is_no_copy() -> None:
    texts = [text() for _ in range(200)]
    _, across = near_copies(texts, [found[:60] + text(60) for found in texts])
    assert not any(across)


def test_the_later_of_two_on_one_side_is_the_copy() -> None:
    first = text()
    assert near_copies([first, text(), changed(first, 2)], [text()]) == ([False, False, True, False], [False] * 3)
    assert near_copies([text()], [first, changed(first, 2)]) == ([False, False, True], [False])


def test_more_texts_than_are_compared_at_once_in_one_band() -> None:
    """A thousand copies of one text on both sides cost as many comparisons each as one."""
    same = text()
    repeats, across = near_copies([same] * 1000, [same] * 1000)
    assert all(across)
    assert sum(repeats) == 1998


def test_texts_without_words_or_with_few() -> None:
    assert near_copies([["!?"], ["yes"], ["no"]], [["?!"], ["Yes"]])[1] == [False, True, False]


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=8), length=st.integers(1, 15))
def test_runs_of_several_texts_are_those_of_each(lengths: list[int], length: int) -> None:
    texts = [word_hashes(" ".join(text(words))) for words in lengths]
    hashes, owners = runs(texts, length)
    assert owners.tolist() == [place for place, words in enumerate(lengths) for _ in range(max(1, words - length + 1))]
    alone = [runs([words], length)[0].tolist() for words in texts]
    assert hashes.tolist() == [found for one in alone for found in one]


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=90))
def test_signatures_of_several_texts_are_datasketchs(lengths: list[int]) -> None:
    texts = [word_hashes(" ".join(text(words))) for words in lengths]
    for words, found in zip(texts, signatures(texts), strict=True):
        known = MinHash(num_perm=BANDS * WIDTH, seed=7, hashfunc=int)
        known.update_batch((runs([words], RUN)[0] & np.uint64(2**32 - 1)).tolist())
        assert found.tolist() == known.hashvalues.tolist()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), edits=st.lists(st.integers(0, 30), min_size=2, max_size=12), data=st.data())
def test_what_remains_has_no_near_copy_on_the_other_side(seed: int, edits: list[int], data: st.DataObject) -> None:
    """Compared pair by pair, at a similarity at which a band is missed once in ten billion times."""
    original = random.Random(seed).choices(VOCABULARY, k=60)  # noqa: S311  not for secrets
    texts = [changed(original, times) if times else original for times in edits]
    split = data.draw(st.integers(1, len(texts) - 1))
    _, across = near_copies(texts[:split], texts[split:])
    found = signatures([word_hashes(" ".join(words)) for words in texts])
    for place, left_out in enumerate(across):
        most = max(float((found[place] == other).mean()) for other in found[split:])
        assert left_out or most < 0.9
        assert not left_out or most >= SIMILAR
