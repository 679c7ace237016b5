"""`result.json`: the record of a task, copied (at most 3 KB) to the container's termination message."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from .assessment import Assessment
from .base import Exchanged, Record, Task
from .check import CheckReport
from .exits import FAILURE_CODES, TERMINATION_MESSAGE_LIMIT, ExitCode, Reason
from .imports import Imported
from .inspection import Inspection
from .problem import Problem
from .release import Release
from .text import last_that_fit, shorten
from .tracking import Tracked
from .training import Reached, TrainingSummary
from .verification import Verified

RESULT_FILE = "result.json"

Found = Inspection | CheckReport | Imported | TrainingSummary | Assessment | Release | Verified
Payload = Annotated[Found, Field(discriminator="task")]


class Succeeded(Record):
    """The task did its work."""

    kind: Literal["Succeeded"] = "Succeeded"
    message: str
    payload: Payload

    def shortened(self, limit: int) -> Self:
        """With short texts."""
        return self.model_copy(update={"payload": self.payload.shortened(limit)})


class Failed(Record):
    """It did not. A word that a newer task has is Unknown here; its message says more."""

    kind: Literal["Failed"] = "Failed"
    exit_code: ExitCode
    reason: Reason
    message: str
    problem: Problem | None = None
    reached: Reached | None = None
    """Of training."""
    rank: NonNegativeInt | None = None
    """Of training: which of all processes says so."""
    lines: list[str] = []
    """The last ones that it wrote down to be told: of ours, and where in the code it was; nothing that could quote a
    row (trainer_image/last_lines.py)."""

    @model_validator(mode="before")
    @classmethod
    def _known_words(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = {"exitCode": (FAILURE_CODES, ExitCode.UNKNOWN), "reason": (tuple(Reason), Reason.UNKNOWN)}
        unknown = {name: word for name, (words, word) in known.items() if name in given and given[name] not in words}
        return given | unknown

    def shortened(self, limit: int) -> Self:
        """With short texts."""
        problem = self.problem and self.problem.shortened(limit // 2)
        lines = last_that_fit(self.lines, limit // 2)
        return self.model_copy(update={"message": shorten(self.message, limit), "problem": problem, "lines": lines})


class Result(Exchanged):
    """How a task ended."""

    task: Task
    outcome: Annotated[Succeeded | Failed, Field(discriminator="kind")]
    tracked: Tracked | None = None
    """Of runs that are tracked, once it is known what came of that."""

    @classmethod
    def success(cls, message: str, payload: Payload) -> Self:
        """Of the task whose payload it is."""
        return cls(task=payload.task, outcome=Succeeded(message=message, payload=payload))

    @property
    def reached(self) -> Reached | None:
        """How far training came, where it is training's and it began."""
        if isinstance(self.outcome, Failed):
            return self.outcome.reached
        return self.outcome.payload.reached if isinstance(self.outcome.payload, TrainingSummary) else None

    def having(self, reached: Reached | None) -> Self:
        """With how far training came, where it failed and does not say so."""
        if not isinstance(self.outcome, Failed) or self.outcome.reached or reached is None:
            return self
        return self.model_copy(update={"outcome": self.outcome.model_copy(update={"reached": reached})})

    def of_rank(self, rank: int, lines: list[str]) -> Self:
        """A failure as one process tells it, with the last lines that it wrote down; a success is that of all."""
        if not isinstance(self.outcome, Failed):
            return self
        return self.model_copy(update={"outcome": self.outcome.model_copy(update={"rank": rank, "lines": lines})})

    @classmethod
    def failure(
        cls, task: Task, exit_code: ExitCode, reason: Reason, message: str, problem: Problem | None = None
    ) -> Self:
        """Of a task that did not do its work."""
        return cls(task=task, outcome=Failed(exit_code=exit_code, reason=reason, message=message, problem=problem))

    @classmethod
    def from_format_0(cls, given: dict[str, Any]) -> dict[str, Any]:
        """One flat object, with a field of its own for each task's payload."""
        task = given.get("task")
        payload = given.get(_PAYLOAD_IN_FORMAT_0.get(task, "")) if isinstance(task, str) else None
        if given.get("exitCode") == ExitCode.SUCCEEDED and isinstance(payload, dict):
            outcome = {"kind": "Succeeded", "payload": payload | {"task": given["task"]}}
        else:
            outcome = {"kind": "Failed"}
        return {"task": given.get("task"), "outcome": given | outcome}

    @model_validator(mode="after")
    def _of_one_task(self) -> Self:
        if self.payload is not None and self.payload.task != self.task:
            raise ValueError(f"a result of {self.task} has the payload of {self.payload.task}")
        return self

    @property
    def succeeded(self) -> bool:
        """Whether the task did its work."""
        return isinstance(self.outcome, Succeeded)

    @property
    def payload(self) -> Found | None:
        """What it found or made; None where it failed."""
        return self.outcome.payload if isinstance(self.outcome, Succeeded) else None

    @property
    def problem(self) -> Problem | None:
        """What a person can mend, where that is known."""
        return self.outcome.problem if isinstance(self.outcome, Failed) else None

    @property
    def exit_code(self) -> ExitCode:
        """The class of the ending."""
        return self.outcome.exit_code if isinstance(self.outcome, Failed) else ExitCode.SUCCEEDED

    @property
    def reason(self) -> Reason:
        """The ending in one word."""
        return self.outcome.reason if isinstance(self.outcome, Failed) else Reason.SUCCEEDED

    @property
    def message(self) -> str:
        """The ending in one sentence."""
        return self.outcome.message

    def termination_message(self, most: int = TERMINATION_MESSAGE_LIMIT) -> str:
        """JSON of at most so many bytes: long texts are cut, more and more until it fits."""
        for limit in (1500, 600, 200, 50):
            tracked = self.tracked and self.tracked.shortened(limit // 3)
            cut = self.model_copy(update={"outcome": self.outcome.shortened(limit), "tracked": tracked})
            text = cut.model_dump_json(by_alias=True, exclude_none=True)
            if len(text.encode()) <= most:
                return text
        raise ValueError(f"result of {self.task} does not fit in {most} bytes")


_PAYLOAD_IN_FORMAT_0 = {"inspect": "inspection", "check": "check", "train": "training", "assess": "assessment"}
