"""How a file that cannot be fetched is said."""

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_trainer.dataset import FIELD
from wardrobe_trainer.problems import TaskError, bad_data

CREDENTIALS = "spec.dataset.credentials"
ENDPOINT = "spec.dataset.endpoint"


def not_found(source: str, rule: str, next_step: str) -> TaskError:
    """There is no such thing."""
    return bad_data(Reason.DATASET_NOT_FOUND, field=FIELD, value=source, rule=rule, next_step=next_step)


def refused(given: bool, rule: str, next_step: str) -> TaskError:
    """Who asks is not known, or may not read it."""
    value = "the Secret that it names" if given else "(not set)"
    return bad_data(Reason.CREDENTIALS_REFUSED, field=CREDENTIALS, value=value, rule=rule, next_step=next_step)


def changed(source: str) -> TaskError:
    """It is another file each time."""
    return bad_data(
        Reason.SOURCE_CHANGED,
        field=FIELD,
        value=source,
        rule="the file must stay as it is while it is fetched, and was changed three times meanwhile",
        next_step="Create the run again once nobody writes it; better, give each state of the data a name of its own",
    )


def unreachable(endpoint: str | None, rule: str) -> TaskError:
    """It may well be there later, so the operator has the check made again."""
    problem = Problem(
        field=ENDPOINT,
        value=endpoint or "(not set)",
        rule=rule,
        next_step="See that the server is up and that pods of this namespace may reach it",
    )
    return TaskError(ExitCode.COMMUNICATION, Reason.SOURCE_UNREACHABLE, problem)
