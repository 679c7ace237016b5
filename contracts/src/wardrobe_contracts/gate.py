"""The gate: what a new version's scores are held against, and what came of it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .base import AdapterName, Record, Variant


class Metric(StrEnum):
    """Of held-out answers: of whole ones, or of their bodies."""

    LOSS = "Loss"
    PERPLEXITY = "Perplexity"
    BODY_LOSS = "BodyLoss"
    BODY_PERPLEXITY = "BodyPerplexity"


class Against(StrEnum):
    """Whose scores are the measure."""

    BASE = "Base"
    """The base alone."""
    INCUMBENT = "Incumbent"
    """Each version of the line that a department named when the assessment began."""


class Verdict(StrEnum):
    """What a gate says of a version."""

    ACCEPTED = "Accepted"
    REJECTED = "Rejected"


class Outcome(StrEnum):
    """What one rule comes to."""

    PASSED = "Passed"
    FAILED = "Failed"
    NOT_APPLICABLE = "NotApplicable"


class GateRule(Record):
    """The candidate's metric may be above the reference's by this share of it at most."""

    metric: Metric
    against: Against
    max_regression: Annotated[float, Field(ge=0, le=10)]


class Judgement(Record):
    """One rule on one variant, against the base or one incumbent. Numbers are absent where none were compared."""

    metric: Metric
    against: Against
    max_regression: float
    outcome: Outcome
    variant: Variant | None = None
    adapter: AdapterName | None = None
    """The incumbent."""
    reference: float | None = None
    candidate: float | None = None
    regression: float | None = None
    """(candidate - reference) / reference."""
    low: float | None = None
    high: float | None = None
    """Of the regression, an interval of 95 %."""
    message: str | None = None
    """Why nothing was compared."""
