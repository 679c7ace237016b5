"""What a person should know of a version that was published, in words."""

from collections.abc import Iterator

from wardrobe.stage.attempts import Attempts
from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.gate import Judgement, Outcome, Verdict


def remarks(attempts: Attempts) -> str:
    """What follows the version's name: nothing where all went as anybody expects."""
    assessed, checked = attempts.success(Assessment), attempts.success(CheckReport)
    if assessed is None:
        return ""
    heldout = checked.payload.heldout_rows if checked else None
    return "".join(f"; {remark}" for remark in _of(assessed.payload, heldout))


def _of(found: Assessment, heldout: int | None) -> Iterator[str]:
    if found.verdict is Verdict.REJECTED:
        failed = ", ".join(failure(rule) for rule in found.gate if rule.outcome is Outcome.FAILED)
        yield f"its gate rejected it ({failed}), so that departments name it only with acceptRejected: {found.digest}"
    for one in found.not_assessed:
        yield f"it is not assessed on {one.variant}: {one.message}"
    if found.evaluated_rows is not None and heldout is not None and found.evaluated_rows < heldout:
        yield f"it was measured on {found.evaluated_rows} of {heldout} held-out rows"


def failure(rule: Judgement) -> str:
    """A rule that failed, with its numbers."""
    other = rule.adapter or "the base"
    if rule.regression is None:
        return f"{rule.metric} against {other}: {rule.message}"
    return (
        f"{rule.metric} on {rule.variant} is {rule.candidate:g} where {other} has {rule.reference:g}: "
        f"{rule.regression:+.1%}, and {rule.max_regression:+.1%} is allowed"
    )
