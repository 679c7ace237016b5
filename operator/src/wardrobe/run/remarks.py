"""What a person should know of a version that was published, or that could not be, in words."""

from collections.abc import Iterator

from wardrobe.stage.attempt import Ended
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.gate import Judgement, Outcome, Verdict
from wardrobe_contracts.release import Release
from wardrobe_contracts.training import TrainingSummary


def remarks(attempts: Attempts) -> str:
    """What follows the version's name: nothing where all went as anybody expects."""
    assessed, released = attempts.success(Assessment), attempts.success(Release)
    made = assessed or released
    if made is None:
        return ""
    told = [*(_of(assessed.payload) if assessed else ()), *_rows(made.payload.evaluated_rows, attempts)]
    return "".join(f"; {remark}" for remark in told)


def kept(run: str, ended: Ended, attempts: Attempts) -> str:
    """What follows the failure of an assessment: nothing where the adapter itself is at fault."""
    trained = attempts.success(TrainingSummary)
    if trained is None or ended.result.exit_code is ExitCode.BAD_ADAPTER:
        return ""
    number = attempts.known().begun_at("train", trained.number)
    stop = "" if ended.message.endswith(".") else "."
    return (
        f"{stop} What attempt {number} has trained is kept: a run of method Import with spec.adapter.source "
        f"run://{run}/{number} measures it, and nothing is trained again"
    )


def _of(found: Assessment) -> Iterator[str]:
    if found.verdict is Verdict.REJECTED:
        failed = ", ".join(failure(rule) for rule in found.gate if rule.outcome is Outcome.FAILED)
        yield f"its gate rejected it ({failed}), so that departments name it only with acceptRejected: {found.digest}"
    for one in found.not_assessed:
        yield f"it is not assessed on {one.variant}: {one.message}"


def _rows(evaluated: int | None, attempts: Attempts) -> Iterator[str]:
    checked = attempts.success(CheckReport)
    if evaluated is not None and checked and evaluated < checked.payload.heldout_rows:
        yield f"it was measured on {evaluated} of {checked.payload.heldout_rows} held-out rows"


def failure(rule: Judgement) -> str:
    """A rule that failed, with its numbers."""
    other = rule.adapter or "the base"
    if rule.regression is None:
        return f"{rule.metric} against {other}: {rule.message}"
    return (
        f"{rule.metric} on {rule.variant} is {rule.candidate:g} where {other} has {rule.reference:g}: "
        f"{rule.regression:+.1%}, and {rule.max_regression:+.1%} is allowed"
    )
