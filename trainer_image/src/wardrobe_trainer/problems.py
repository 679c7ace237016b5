"""The one exception by which a task ends: an exit class, a reason and a problem that a person can mend."""

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem

NAMED_EXAMPLES = 5
"""How many row numbers or file names a message lists before it says how many more there are."""


class TaskError(Exception):
    """A task cannot go on, and it is known why."""

    def __init__(self, code: ExitCode, reason: Reason, problem: Problem) -> None:
        super().__init__(str(problem))
        self.code = code
        self.reason = reason
        self.problem = problem


class TerminatedError(BaseException):
    """SIGTERM arrived. Not an Exception, so that no library's `except Exception` swallows it."""


def bad_base(reason: Reason, *, field: str, value: str, rule: str, next_step: str) -> TaskError:
    """The base model's files are at fault."""
    return TaskError(ExitCode.BAD_BASE, reason, Problem(field=field, value=value, rule=rule, next_step=next_step))


def bad_data(reason: Reason, *, field: str, value: str, rule: str, next_step: str) -> TaskError:
    """The dataset is at fault."""
    return TaskError(ExitCode.BAD_DATA, reason, Problem(field=field, value=value, rule=rule, next_step=next_step))


def bad_adapter(*, value: str, rule: str, next_step: str, field: str = "spec.output.adapter") -> TaskError:
    """The candidate adapter's files, or an artifact in its place, are at fault."""
    problem = Problem(field=field, value=value, rule=rule, next_step=next_step)
    return TaskError(ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID, problem)


def bad_model(*, value: str, rule: str, next_step: str) -> TaskError:
    """The trained model's files, or a model in their place, are at fault."""
    problem = Problem(field="spec.output.baseModel", value=value, rule=rule, next_step=next_step)
    return TaskError(ExitCode.BAD_ADAPTER, Reason.MODEL_INVALID, problem)


def listed(items: list[str]) -> str:
    """The first few of `items` and the number of the others, as prose."""
    rest = len(items) - NAMED_EXAMPLES
    text = ", ".join(items[:NAMED_EXAMPLES])
    return f"{text} and {rest} more" if rest > 0 else text
