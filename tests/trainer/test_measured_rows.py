"""Which rows are measured, what is kept of that, and how sure its numbers are."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardrobe_contracts.base import Variant
from wardrobe_trainer.bootstrap import interval
from wardrobe_trainer.comparison import Counts, Sums, compare
from wardrobe_trainer.dataset import Row
from wardrobe_trainer.kept import Kept
from wardrobe_trainer.sampling import sample


def rows(count: int) -> list[Row]:
    return [Row(number, [{"role": "user", "content": f"question {number}"}], "") for number in range(1, count + 1)]


@given(count=st.integers(1, 60), most=st.integers(1, 60))
def test_a_sample_is_of_the_wanted_size_and_in_order(count: int, most: int) -> None:
    picked = sample(rows(count), most)
    assert len(picked) == min(count, most)
    assert picked == sorted(set(picked))


@given(most=st.integers(1, 40), more=st.integers(0, 40), shuffled=st.randoms(use_true_random=False))
def test_a_sample_of_grown_data_has_of_the_old_rows_only_sampled_ones(
    most: int, more: int, shuffled: random.Random
) -> None:
    before = {place + 1 for place in sample(rows(40), most)}
    grown = rows(40 + more)
    shuffled.shuffle(grown)
    after = {grown[place].number for place in sample(grown, most)}
    assert {number for number in after if number <= 40} <= before


COUNTS = Counts(whole=[3, 5], body=[2, 4])
SUMS = Sums(whole=[3.5, 4.5], body=[1.5, 2.5])


def kept(folder: Path | None, **changes: object) -> Kept:
    facts = {
        "base": "sampled:sha256:" + "b" * 64,
        "variant": Variant.NF4,
        "rows": "abc",
        "programs": {"torch": "2.13.0", "device": "CPU"},
    }
    return Kept(folder=folder, counts=COUNTS, **(facts | changes))  # type: ignore[arg-type]  # by the test's word


def test_scores_are_found_again(tmp_path: Path) -> None:
    assert kept(tmp_path).read(None) is None
    kept(tmp_path).write(None, SUMS)
    assert kept(tmp_path).read(None) == SUMS


@pytest.mark.parametrize(
    "changes",
    [
        {"base": "sampled:sha256:" + "c" * 64},
        {"variant": Variant.NONE},
        {"rows": "abd"},
        {"programs": {"torch": "2.14.0", "device": "CPU"}},
    ],
)
def test_scores_of_anything_else_are_not(tmp_path: Path, changes: dict[str, object]) -> None:
    kept(tmp_path).write(None, SUMS)
    assert kept(tmp_path, **changes).read(None) is None
    assert kept(tmp_path).read("sha256:" + "1" * 64) is None


@pytest.mark.parametrize("text", ["", "{", json.dumps({"whole": [1.0], "body": [1.0]}), '{"whole": [1, "x"]}'])
def test_damaged_scores_are_measured_anew(tmp_path: Path, text: str) -> None:
    kept(tmp_path).write(None, SUMS)
    next(tmp_path.iterdir()).write_text(text)
    assert kept(tmp_path).read(None) is None


def test_a_store_that_takes_nothing_costs_only_a_second_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept(tmp_path / "file").write(None, SUMS)
    assert kept(tmp_path / "file").read(None) is None
    kept(None).write(None, SUMS)
    assert kept(None).read(None) is None


def test_an_interval_of_rows_that_all_differ_alike_is_a_point() -> None:
    assert interval([2.0, 4.0, 6.0], [10, 20, 30]).low == interval([2.0, 4.0, 6.0], [10, 20, 30]).high == 0.2


ROWS = st.lists(st.tuples(st.floats(-50, 50), st.integers(1, 100)), min_size=1, max_size=30)


@given(found=ROWS)
def test_an_interval_lies_within_what_rows_gave_and_repeats_itself(found: list[tuple[float, int]]) -> None:
    differences, tokens = [one for one, _ in found], [count for _, count in found]
    one = interval(differences, tokens)
    means = [difference / count for difference, count in found]
    assert min(means) - 1e-4 <= one.low <= one.high <= max(means) + 1e-4
    assert interval(differences, tokens) == one


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Rows whose true mean difference is 0.3 nats a token; 95 of 100 samples should have it in their intervals."""
    source = random.Random(1)  # noqa: S311  nothing secret
    hits = 0
    for _ in range(100):
        differences = [source.gauss(0.3, 1.0) for _ in range(80)]
        found = interval(differences, [1] * 80)
        hits += found.low <= 0.3 <= found.high
    assert 88 <= hits <= 100


def test_paired_rows_tell_apart_what_unpaired_ones_could_not() -> None:
    """Hard and easy rows: each loses exactly 0.1 nats a token less with the candidate."""
    base = Sums(whole=[10.0, 90.0], body=[10.0, 90.0])
    candidate = Sums(whole=[9.0, 89.0], body=[9.0, 89.0])
    found = compare(Variant.NONE, Counts(whole=[10, 10], body=[10, 10]), base, candidate).whole.difference
    assert found is not None
    assert (found.low, found.high) == (-0.1, -0.1)
