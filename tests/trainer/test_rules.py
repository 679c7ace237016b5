"""Each rule: rows that break it, and rows that nearly do."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are in the other environment
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gauntlet import TIMES

from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.rules import Level, RuleName
from wardrobe_trainer.dataset import Row
from wardrobe_trainer.index import COLUMNS, Side, Table
from wardrobe_trainer.rules import RULES, SCANS, Judged, flags, judge, perishable_facts, personal_data, scans, secrets
from wardrobe_trainer.rules.rule import Evidence

CRD = Path(__file__).parents[2] / "crds" / "finetunejobs.yaml"


def order(**rules: Any) -> CheckConfig:
    values: dict[str, Any] = {"base": {"folder": "", "fingerprint": "sha256:" + "0" * 64}, "dataset_file": "x"}
    values |= {"source": "pvc://data/x.jsonl", "sequence_length": 100, "validation_fraction": 0.2, "seed": 7}
    return CheckConfig.model_validate(values | {"output_folder": "", "rules": rules})


def table(**columns: Any) -> Table:
    """A thousand good rows, every fifth held out, but for the columns that are given, of the first rows."""
    rows = np.arange(1000)
    good = {"number": rows + 1, "side": (rows % 5 == 0), "longest": np.full(1000, 90), "examples": np.ones(1000)}
    good |= {"tokens": np.full(1000, 90), "labels": np.full(1000, 60), "flags": np.zeros(1000)}
    good |= {"prompt": rows + 10_000, "question": rows, "answer": rows + 20_000, "apart": np.zeros(1000)}
    for name, values in columns.items():
        good[name] = np.concatenate([values, good[name][len(values) :]])
    return Table({name: good[name].astype(kind) for name, kind in COLUMNS.items()})


def found(rule: RuleName, rows: Table, **rules: Any) -> Judged | None:
    return next((item for item in judge(Evidence(rows, order(**rules))) if item.rule.name is rule), None)


def test_good_rows_break_no_rule() -> None:
    assert judge(Evidence(table(), order())) == []


HELD, TRAIN, DROPPED = int(Side.HELDOUT), int(Side.TRAIN), int(Side.DROPPED)
CASES: dict[RuleName, tuple[Table, Table]] = {
    RuleName.DROPPED_ROWS: (table(side=[DROPPED] * 51), table()),
    RuleName.LABEL_DENSITY: (table(labels=[0] * 999), table(labels=[4] * 1000, tokens=[80] * 1000)),
    RuleName.SECRETS: (table(flags=[0, 1]), table(flags=[0, 6])),
    RuleName.PERSONAL_DATA: (table(flags=[0, 2]), table(flags=[0, 5])),
    RuleName.DISTINCT_ANSWERS: (table(answer=[7] * 842), table(answer=[7] * 800)),
    RuleName.TRAINING_ROWS: (table(side=[HELD] * 377), table(side=[HELD] * 375)),
    RuleName.HELDOUT_ROWS: (table(side=[TRAIN] * 855), table(side=[TRAIN] * 850)),
    RuleName.HELDOUT_SHARE: (table(side=[TRAIN] * 505), table(side=[TRAIN] * 500)),
    RuleName.TRUNCATED_ROWS: (table(longest=[101]), table(longest=[100])),
    RuleName.DUPLICATES: (table(prompt=[1, 1], answer=[2, 2]), table(prompt=[1, 1, 3], answer=[2, 3, 2])),
    RuleName.CONFLICTING_ANSWERS: (table(prompt=[1, 1]), table(prompt=[1, 1], answer=[2, 2])),
    RuleName.SHARED_ANSWERS: (table(answer=[1] * 51), table(answer=[1] * 46)),
    RuleName.NEAR_COPIES: (table(flags=[8]), table(flags=[7])),
    RuleName.LEAKAGE: (table(flags=[16] * 11), table(flags=[16] * 10 + [15])),
    RuleName.COMMON_FRAME: (table(flags=[32]), table(flags=[31])),
    RuleName.PERISHABLE_FACTS: (table(flags=[4]), table(flags=[3])),
}


@pytest.mark.parametrize("rule", RuleName)
def test_rows_that_break_a_rule_and_rows_that_nearly_do(rule: RuleName) -> None:
    breaking, nearly = CASES[rule]
    own = next(one for one in RULES if one.name is rule)
    judged = found(rule, breaking)
    assert judged is not None
    assert judged.finding.level == own.level
    assert judged.fails is (own.level is Level.FAIL)
    assert found(rule, nearly) is None


@pytest.mark.parametrize("rule", RuleName)
def test_the_person_sets_level_and_threshold(rule: RuleName) -> None:
    rows, _ = CASES[rule]
    for level in (Level.FAIL, Level.WARN):
        judged = found(rule, rows, **{rule: {"level": level}})
        assert judged is not None
        assert judged.finding.level == level
    assert found(rule, rows, **{rule: {"level": "Off"}}) is None
    own = next(one for one in RULES if one.name is rule)
    lenient = found(rule, rows, **{rule: {"level": "Warn", "threshold": 0 if own.at_least else 1000}})
    assert lenient is None or lenient.found.notable


@pytest.mark.parametrize("rule", RuleName)
def test_where_a_rule_ends_a_run_field_value_rule_and_next_step_are_said(rule: RuleName) -> None:
    judged = found(rule, CASES[rule][0], **{rule: {"level": "Fail"}})
    assert judged is not None
    problem = judged.error("pvc://data/x.jsonl").problem
    mended_at = {"spec.dataset.source": "pvc://data/x.jsonl", "spec.training.sequenceLength": "100"}
    mended_at |= {"spec.dataset.validation.fraction": "0.2"}
    assert mended_at[problem.field] == problem.value
    bound = "at least" if judged.rule.at_least else "at most"
    assert problem.rule.startswith(judged.found.says)
    assert problem.rule.endswith(f"; spec.dataset.rules.{rule} wants {bound} {judged.finding.threshold:g}")
    assert problem.next_step


def test_what_ends_a_run_is_said_before_it_does() -> None:
    few = found(RuleName.DROPPED_ROWS, table(side=[DROPPED] * 50))
    assert few is not None
    assert (few.finding.level, few.finding.breaking, few.fails) == ("Warn", 50, False)
    sparse = found(RuleName.LABEL_DENSITY, table(labels=[3] * 1000, tokens=[80] * 1000))
    assert sparse is not None
    assert (sparse.finding.level, sparse.fails) == ("Warn", False)


def test_a_failure_names_rule_rows_and_next_step() -> None:
    judged = found(RuleName.DUPLICATES, table(prompt=[1] * 30, answer=[2] * 30), duplicates={"level": "Fail"})
    assert judged is not None
    assert judged.finding.rows == list(range(2, 22))
    error = judged.error("pvc://data/x.jsonl")
    assert (error.code, error.reason) == (ExitCode.BAD_DATA, Reason.RULE_BROKEN)
    assert (error.problem.field, error.problem.value) == ("spec.dataset.source", "pvc://data/x.jsonl")
    assert error.problem.rule == (
        "29 rows repeat another row (rows 2, 3, 4, 5, 6 and 24 more); spec.dataset.rules.duplicates wants at most 0"
    )
    assert error.problem.next_step


def row(answer: str, question: str = "Why?") -> Row:
    return Row(1, [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], "")


def flagged(text: str, **rules: Any) -> set[RuleName]:
    bits = flags(row(text), scans(order(**rules)))
    return {rule.name for place, rule in SCANS.items() if bits >> place & 1}


KEY = "".join(["AB", "12"] * 12)
SECRETS = [
    "-----BEGIN RSA PRIVATE " + "KEY-----",
    f"use AKIA{KEY[:16]} there",
    f"ghp_{KEY[:36]}",
    f"xoxb-{KEY[:12]}",
    f"AIza{KEY[:35]}",
    f"sk-{KEY[:20]}",
    f"eyJ{KEY[:9]}.eyJ{KEY[:9]}.{KEY[:9]}",
    "The password: hunter22x",
    "API_KEY=abcdef123",
]
NO_SECRETS = [
    "-----BEGIN CERTIFICATE-----",
    f"AKIA{KEY[:15]} is a letter short",
    f"ghp_{KEY[:35]}",
    "sk-learn and xoxo",
    "eyJhbGci.eyJzdWIi",
    "Your password: forgotten",
    "the secret: a1b2c3d",
    "A token: keepsakes",
]
PERSONAL = [
    "write to anna.muster@example.org today",
    "CH93 0076 2011 6238 5295 7",
    "DE89370400440532013000",
    "card 4111 1111 1111 1111",
    "756.9217.0769.85",
]
NOT_PERSONAL = [
    "anna.muster at example",
    "user@localhost",
    "CH93 0076 2011 6238 5295 8",
    "card 4111 1111 1111 1112",
    "0000 0000 0000 0000",
    "756.9217.0769.84",
    "PMID 12345678901",
    "a mean of 0.5074357331894203",
    "4111 1111 1111 1111.5",
]
PERISHABLE = [
    "We are open from 9 am to 5 pm.",
    "Open 09:00-17:00 on weekdays",
    "von 8 bis 12 Uhr",
    "ring +41 44 123 45 67",
    "call 1-800-232-4636 now",
    "(301) 496-4000",
    "Telephone: 044 1234567",
    "It costs $12.50.",
    "CHF 80 for a visit",
    "EUR 80",
    "USD 80",
    "GBP 80",
    "£8 a day",
    "€ 8",
    "about 30 euros",
    "Dial 044 123 45 67",
    "fax: 0441234567",
    "call us 044 123 45 67",
]
NOT_PERISHABLE = [
    "Take 2 to 4 tablets.",
    "between 9 and 5 of 100 people",
    "a ratio of 12:30",
    "ages 10-17",
    "since 1995-2001",
    "call us at once",
    "gains 20 pounds",
    "the gene on 7q31.2, 123-456",
    "+5 degrees",
]


PIECES = [
    *("0", "1", "7", "56", " ", ".", ":", "-", "=", "@", "+", "$", "\n", "9 am", "to", "phone", "CHF", "word", "756"),
    *("(212) ", "212-", "555", "-1234", "09:00", "17:00", "Uhr", "£", "€", "EUR", "USD", "GBP", "fax", "Dial", "tel"),
    *("api key", "PASSWORD", "pa\u017f\u017fwd", "to\u212aen", "secret", "sk-", "ghp_", "eyJ", "AKIA", "xoxb-"),
    *("-----BEGIN ", "PRIVATE KEY-----", "A" * 16, "b" * 20, "CH93 0076 2011 6238 5295 7", "4111 1111 1111 1111"),
    *("756.9217.0769.85", "Ann.B@example.org", "word " * 20, "word " * 30),
]


@settings(max_examples=300 * TIMES)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=12))
def test_what_is_looked_for_first_hides_nothing(pieces: list[str]) -> None:
    """A text is searched for a form only where it has what that form cannot be without."""
    text = "".join(pieces)
    found = row("Yes.", text)
    assert secrets.scan(found) is bool(secrets.SECRET.search(text))
    assert personal_data.scan(found) is any(
        (
            personal_data.EMAIL.search(text),
            any(personal_data.is_iban(one) for one in personal_data.IBAN.findall(text)),
            any(personal_data.is_card(one) for one in personal_data.CARD.findall(text)),
            any(personal_data.is_insured(one) for one in personal_data.INSURED.findall(text)),
        )
    )
    answered = row(text, "Why?")
    anywhere = re.search(rf"{perishable_facts.BY_DIGITS}|\b(?:{perishable_facts.BY_WORDS})", text)
    assert perishable_facts.scan(answered) is bool(anywhere)


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret(text: str) -> None:
    assert RuleName.SECRETS in flagged(text)


@pytest.mark.parametrize("text", NO_SECRETS)
def test_what_is_nearly_a_secret(text: str) -> None:
    assert RuleName.SECRETS not in flagged(text)


@pytest.mark.parametrize("text", PERSONAL)
def test_personal_data(text: str) -> None:
    assert RuleName.PERSONAL_DATA in flagged(text)


@pytest.mark.parametrize("text", NOT_PERSONAL)
def test_what_is_nearly_personal_data(text: str) -> None:
    assert RuleName.PERSONAL_DATA not in flagged(text)


@pytest.mark.parametrize("text", PERISHABLE)
def test_a_perishable_fact(text: str) -> None:
    assert flagged(text) == {RuleName.PERISHABLE_FACTS}


@pytest.mark.parametrize("text", NOT_PERISHABLE)
def test_what_is_nearly_a_perishable_fact(text: str) -> None:
    assert flagged(text) == set()


def test_a_question_may_name_what_perishes_but_no_secret() -> None:
    question = f"Is $5 the price, and sk-{KEY[:20]} the key?"
    assert flags(row("Yes.", question), scans(order())) == 1
    assert flags(row("Yes.", question), scans(order(secrets={"level": "Off"}))) == 0


def test_the_kind_says_the_rules_as_they_are() -> None:
    schema: Any = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    written = schema["properties"]["spec"]["properties"]["dataset"]["properties"]["rules"]["properties"]
    said = {
        name: re.search(r" Default (\w+) (\w+) ([0-9.]+)\.$", field["description"]) for name, field in written.items()
    }
    assert {name: match and match.groups() for name, match in said.items()} == {
        rule.name: (rule.level, "below" if rule.at_least else "above", f"{rule.threshold:g}") for rule in RULES
    }
    assert set(said) == set(RuleName)
