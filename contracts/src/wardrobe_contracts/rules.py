"""Rules that a dataset is held to: what a person may set of them, and what is found."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from .base import Record

LISTED = 20
"""Rows that a finding names."""


class Level(StrEnum):
    """What happens where a rule is broken."""

    FAIL = "Fail"
    WARN = "Warn"
    OFF = "Off"


class RuleName(StrEnum):
    """Names of the rules, as in `spec.dataset.rules`. Each is a file of trainer_image/rules."""

    DROPPED_ROWS = "droppedRows"
    LABEL_DENSITY = "labelDensity"
    SECRETS = "secrets"
    PERSONAL_DATA = "personalData"
    DISTINCT_ANSWERS = "distinctAnswers"
    TRAINING_ROWS = "trainingRows"
    HELDOUT_ROWS = "heldoutRows"
    HELDOUT_SHARE = "heldoutShare"
    TRUNCATED_ROWS = "truncatedRows"
    DUPLICATES = "duplicates"
    CONFLICTING_ANSWERS = "conflictingAnswers"
    SHARED_ANSWERS = "sharedAnswers"
    NEAR_COPIES = "nearCopies"
    LEAKAGE = "leakage"
    COMMON_FRAME = "commonFrame"
    PERISHABLE_FACTS = "perishableFacts"


class RuleSetting(Record):
    """What a person set of a rule; None for its own."""

    level: Level | None = None
    threshold: NonNegativeFloat | None = None


class Finding(Record):
    """A rule that is broken; or nearly, where breaking it ends the run."""

    rule: str
    level: str
    """Fail or Warn. Strings, as a later release may have more of both."""
    threshold: float
    measured: float
    """What stands against the threshold."""
    breaking: NonNegativeInt
    """Rows that break it, where single rows do."""
    rows: Annotated[list[PositiveInt], Field(max_length=LISTED)] = []
    """Numbers of the first of them. Never a word of them."""
    validation_rows: Annotated[list[PositiveInt], Field(max_length=LISTED)] = []
    """The same of the file of `validation.source`, whose rows have numbers of their own."""
    says: str


class DatasetReport(Record):
    """`report.json` of a check that could read all rows, whether the dataset passed or not: all that rules found."""

    source: str
    rows: PositiveInt
    findings: list[Finding]
