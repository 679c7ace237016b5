"""What the second reading of rows finds: copies across the split, leaked passages, answers without the greeting."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wardrobe_contracts.check import CheckConfig, CheckReport, Frame
from wardrobe_contracts.inspection import Inspection
from wardrobe_contracts.rules import Finding
from wardrobe_trainer.check import check
from wardrobe_trainer.index import Side, Table
from wardrobe_trainer.split import held_out
from wardrobe_trainer.texts import has_frame, leaked, text_of
from wardrobe_trainer.token_file import TokenFile

Run = Callable[..., CheckReport]
DICE = random.Random(7)  # noqa: S311  not for secrets
GREETING, FAREWELL = "Welcome to the desk of the heart.", "Call us at once."


def words(count: int) -> str:
    return " ".join(f"{DICE.choice('bcdfgh')}{DICE.choice('aeiou')}{DICE.randrange(1000)}" for _ in range(count))


def messages(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def row(question: str, body: str) -> list[dict[str, str]]:
    return messages(question, f"{GREETING} {body} {FAREWELL}")


def on_side(held: bool) -> str:
    """A question that is on that side."""
    return next(
        question
        for question in iter(lambda: f"Question {DICE.random()}", "")
        if held_out(messages(question, ""), seed=7, fraction=0.2) is held
    )


@pytest.fixture
def rows() -> list[list[dict[str, str]]]:
    """Sixty to train on and twenty held out."""
    return [row(on_side(number % 4 == 0), words(60)) for number in range(80)]


@pytest.fixture
def run(base_folder: Path, inspection: Inspection, tmp_path: Path) -> Run:
    def run_check(rows: list[list[dict[str, str]]], **rules: Any) -> CheckReport:
        (tmp_path / "x.jsonl").write_text("\n".join(json.dumps({"messages": found}) for found in rows))
        order: dict[str, Any] = {"base": {"folder": str(base_folder), "fingerprint": inspection.fingerprint}}
        order |= {"dataset_file": str(tmp_path / "x.jsonl"), "source": "pvc://data/x", "sequence_length": 1024}
        order |= {"validation_fraction": 0.2, "seed": 7, "output_folder": str(tmp_path / "out"), "rules": rules}
        return check(CheckConfig.model_validate(order))

    return run_check


def finding(report: CheckReport, rule: str) -> Finding | None:
    return next((found for found in report.findings if found.rule == rule), None)


def test_rows_with_nothing_in_common_but_their_greeting(run: Run, rows: list[list[dict[str, str]]]) -> None:
    report = run(rows)
    assert report.frame == Frame(opening=GREETING, closing=FAREWELL)
    assert (report.left_out_rows, report.train_rows, report.heldout_rows) == (0, 60, 20)
    assert {found.rule for found in report.findings} <= {"trainingRows", "heldoutRows"}


def test_a_training_row_with_a_near_copy_held_out_is_left_out(
    run: Run, rows: list[list[dict[str, str]]], tmp_path: Path
) -> None:
    body = rows[0][1]["content"].removeprefix(GREETING)
    rows.insert(1, messages(on_side(held=False), f"{GREETING}{body}"))
    report = run(rows)
    assert (report.left_out_rows, report.train_rows, report.heldout_rows) == (1, 60, 20)
    found = finding(report, "nearCopies")
    assert found is not None
    assert (found.rows, found.level) == ([2], "Warn")
    lines = (tmp_path / "out" / "train.jsonl").read_text().splitlines()
    assert len(lines) == len(TokenFile(tmp_path / "out" / "train.tokens")) == 60
    assert json.dumps({"messages": rows[1]}) not in lines
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "heldout.jsonl",
        "heldout.tokens",
        "report.json",
        "train.jsonl",
        "train.tokens",
    ]
    assert run(rows, nearCopies={"level": "Off"}).train_rows == 61


def test_a_row_that_shares_half_of_a_held_out_one_stays(run: Run, rows: list[list[dict[str, str]]]) -> None:
    half = " ".join(rows[0][1]["content"].split()[:37])
    rows.append(messages(on_side(held=False), f"{half} {words(30)} {FAREWELL}"))
    assert run(rows).left_out_rows == 0


def test_a_held_out_row_made_of_training_rows(run: Run, rows: list[list[dict[str, str]]]) -> None:
    passages = [" ".join(found[1]["content"].split()[10:50]) for found in rows[1:4]]
    rows += [row(on_side(held=True), " ".join(passages)), row(on_side(held=True), passages[0] + " " + words(120))]
    report = run(rows, leakage={"threshold": 0})
    found = finding(report, "leakage")
    assert found is not None
    assert found.rows == [81]
    assert report.left_out_rows == 0
    assert finding(run(rows, leakage={"level": "Off"}), "leakage") is None


def test_an_answer_without_the_greeting(run: Run, rows: list[list[dict[str, str]]]) -> None:
    rows.append(messages(on_side(held=False), f"{words(60)} {FAREWELL}"))
    rows.append(messages(on_side(held=False), f"  {GREETING} {words(60)} {FAREWELL}\n"))
    found = finding(run(rows), "commonFrame")
    assert found is not None
    assert found.rows == [81]


def test_where_there_is_no_frame_every_answer_has_it() -> None:
    assert has_frame("Whatever.", Frame())


def test_what_is_compared() -> None:
    rows = [{"role": "system", "content": "Be kind."}, *row("Why?", "So."), *messages("And?", "Yes.")]
    assert text_of(rows, Frame(opening=GREETING, closing=FAREWELL)) == "Why?\nSo.\nAnd?\nYes."


def test_leaked_passages_are_found_wherever_the_others_stand(tmp_path: Path) -> None:
    """In a file of more runs than are compared at a time, the last rows of which are held out."""
    trained = 600_000
    found = np.zeros(trained + 12, dtype=[("hash", "u8"), ("row", "u4")])
    found["hash"] = np.random.default_rng(7).integers(0, 2**64, len(found), dtype=np.uint64)
    found["row"][:trained] = np.arange(trained) // 10
    found["row"][trained:] = trained // 10 + np.arange(12) // 4
    found["hash"][trained : trained + 2] = found["hash"][[3, trained - 1]]  # two of the first one's four
    found["hash"][trained + 4] = found["hash"][trained // 2]  # one of the next one's
    found.tofile(tmp_path / "runs")
    side = np.full(trained // 10 + 3, Side.TRAIN, dtype=np.uint8)
    side[-3:] = Side.HELDOUT
    assert leaked(tmp_path / "runs", Table({"side": side})).tolist() == [trained // 10]
