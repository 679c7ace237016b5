"""What is constant of a stage that is a Job: its task, how often it is tried, and what helps it to memory."""

from dataclasses import dataclass, field

from wardrobe_contracts.base import Task


@dataclass(frozen=True)
class Retries:
    """Attempts that may be lost before the stage counts as failed, and the pauses between them."""

    most: int = 10
    """To the infrastructure."""
    failures: int = 0
    """To the work itself."""
    first_pause_seconds: float = 10.0
    last_pause_seconds: float = 600.0

    def pause(self, times: int) -> float:
        """Seconds after so many attempts in a row that came no further: each twice the one before."""
        return min(self.first_pause_seconds * 2.0 ** (times - 1), self.last_pause_seconds)


@dataclass(frozen=True)
class Stage:
    """One program of the trainer image, run in a Job per attempt."""

    task: Task
    more_memory: str
    """What a person does where it was killed for using more than its limit."""
    reports_progress: bool = field(default=False, kw_only=True)
    """Whether it answers on a port how far it is."""
    saves: bool = field(default=False, kw_only=True)
    """Whether an attempt that is interrupted saves what it has done, and the next goes on from there."""
    retries: Retries = field(default_factory=Retries, kw_only=True)
