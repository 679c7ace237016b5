"""How a file that cannot be fetched is said."""

from dataclasses import dataclass

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.remote import MOST_BYTES
from wardrobe_trainer.problems import TaskError


@dataclass(frozen=True)
class Asked:
    """What a person asked for, and where in the run's spec."""

    source: str
    """As it is written."""
    part: str = "spec.dataset"
    code: ExitCode = ExitCode.BAD_DATA
    missing: Reason = Reason.DATASET_NOT_FOUND
    large: Reason = Reason.DATASET_TOO_LARGE
    most: int = MOST_BYTES
    """Of it, in bytes; what has more is not fetched to its end."""
    smaller: str = "Name a smaller file; or copy it to a PersistentVolumeClaim and name it by pvc://"
    """What helps where it has more."""

    @property
    def credentials(self) -> str:
        """The field that names who asks."""
        return f"{self.part}.credentials"

    def not_found(self, rule: str, next_step: str) -> TaskError:
        """There is no such thing."""
        return self._error(self.missing, self._source(rule, next_step))

    def wrong_credentials(self, given: bool, rule: str, next_step: str) -> TaskError:
        """Who asks is not known, or may not read it."""
        value = "the Secret that it names" if given else "(not set)"
        problem = Problem(field=self.credentials, value=value, rule=rule, next_step=next_step)
        return self._error(Reason.CREDENTIALS_REFUSED, problem)

    def too_large(self) -> TaskError:
        """By what its server says of it, or by what has come."""
        return self._error(self.large, self._source(f"it is larger than {self.most} bytes", self.smaller))

    def changed(self) -> TaskError:
        """It is another file each time."""
        rule = "the file must stay as it is while it is fetched, and was changed three times meanwhile"
        step = "Create the run again once nobody writes it; better, give each state of it a name of its own"
        return self._error(Reason.SOURCE_CHANGED, self._source(rule, step))

    def unreachable(self, endpoint: str | None, rule: str) -> TaskError:
        """It may well be there later, so the operator has the task made again."""
        problem = Problem(
            field=f"{self.part}.endpoint",
            value=endpoint or "(not set)",
            rule=rule,
            next_step="See that the server is up and that pods of this namespace may reach it",
        )
        return TaskError(ExitCode.COMMUNICATION, Reason.SOURCE_UNREACHABLE, problem)

    def _source(self, rule: str, next_step: str) -> Problem:
        return Problem(field=f"{self.part}.source", value=self.source, rule=rule, next_step=next_step)

    def _error(self, reason: Reason, problem: Problem) -> TaskError:
        return TaskError(self.code, reason, problem)
