"""What a process is told that tells the server, and what it says in turn: files in a folder of the container."""

from pathlib import Path

from pydantic import PositiveFloat, ValidationError

from wardrobe_contracts.base import Record, Task
from wardrobe_contracts.tracking import MlflowTracking, Tracked

COMMISSION_FILE = "commission.json"
STATE_FILE = "state.json"


class Commission(Record):
    """What a process is to tell the server."""

    tracking: MlflowTracking
    task: Task
    folder: str
    """The task's own in the run's folder: what was sent is written down there."""
    curve: str | None = None
    """File that training writes meanwhile; None where the task has ended, and its result is to be told."""
    every_seconds: PositiveFloat = 5.0
    """Between two looks at the curve."""
    parent: int
    """Process that this one goes with."""


def write_state(folder: Path, found: Tracked) -> None:
    """Replace what the process said before. Not synced to disk: it is of no use after this container."""
    temporary = folder / f".{STATE_FILE}"
    temporary.write_text(found.model_dump_json(by_alias=True))
    temporary.replace(folder / STATE_FILE)


def read_state(folder: Path) -> Tracked | None:
    """What the process said last; None before it has."""
    try:
        return Tracked.model_validate_json((folder / STATE_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
