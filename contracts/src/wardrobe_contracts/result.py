"""`result.json`: the record of a task, copied (at most 3 KB) to the container's termination message."""

from typing import Literal

from .assessment import Assessment
from .base import Record
from .check import CheckReport
from .exits import TERMINATION_MESSAGE_LIMIT, ExitCode, Reason
from .inspection import Inspection
from .problem import Problem
from .training import TrainingSummary

RESULT_FILE = "result.json"

Task = Literal["inspect", "check", "train", "assess"]


class Result(Record):
    """How a task ended. Exactly one of the four payloads is set after success; `problem` or `message` after failure."""

    task: Task
    exit_code: ExitCode
    reason: Reason
    message: str
    problem: Problem | None = None
    inspection: Inspection | None = None
    check: CheckReport | None = None
    training: TrainingSummary | None = None
    assessment: Assessment | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the task did its work."""
        return self.exit_code is ExitCode.SUCCEEDED

    def termination_message(self) -> str:
        """JSON of at most TERMINATION_MESSAGE_LIMIT bytes: long texts are cut, more and more until it fits."""
        for limit in (1500, 600, 200):
            text = self._cut(limit).model_dump_json(by_alias=True, exclude_none=True)
            if len(text.encode()) <= TERMINATION_MESSAGE_LIMIT:
                return text
        raise ValueError(f"result of {self.task} does not fit in {TERMINATION_MESSAGE_LIMIT} bytes")

    def _cut(self, limit: int) -> "Result":
        problem = self.problem and self.problem.model_copy(
            update={name: _shorten(getattr(self.problem, name), limit // 2) for name in Problem.model_fields}
        )
        check = self.check and self.check.model_copy(
            update={
                "warnings": [_shorten(text, limit // 4) for text in self.check.warnings[:4]],
                "frame": self.check.frame.model_copy(
                    update={
                        "opening": _shorten(self.check.frame.opening, limit // 4),
                        "closing": _shorten(self.check.frame.closing, limit // 4),
                    }
                ),
            }
        )
        assessment = self.assessment and self.assessment.model_copy(
            update={"target_modules": self.assessment.target_modules[: limit // 50]}
        )
        cut = {"problem": problem, "check": check, "assessment": assessment}
        return self.model_copy(update={"message": _shorten(self.message, limit), **cut})


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
