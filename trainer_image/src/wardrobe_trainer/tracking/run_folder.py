"""What a run's folder in the store has to tell: the attempts' curves and results, and what of them was sent."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import NonNegativeInt, ValidationError

from wardrobe_contracts.base import Record
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_trainer.files import write_durably

from . import curve
from .curve import CURVE_FILE, Point

SENT_FILE = "tracked.json"


class Sent(Record):
    """How many points of each attempt's curve the server has taken."""

    run_id: str
    """Under which: another one has none of them."""
    points: dict[int, NonNegativeInt] = {}


@dataclass(frozen=True)
class Told:
    """A result, and when it was written: in milliseconds since 1970."""

    result: Result
    time: int


@dataclass(frozen=True)
class RunFolder:
    """Every attempt to train has a folder here by its number; other tasks have theirs by name."""

    path: Path

    def attempts(self) -> list[int]:
        """Numbers of those that have begun."""
        return sorted(int(found.name) for found in self.path.iterdir() if found.name.isdecimal())

    def size(self, attempt: int) -> int:
        """Bytes of an attempt's curve."""
        file = self.path / str(attempt) / CURVE_FILE
        return file.stat().st_size if file.exists() else 0

    def points(self, attempt: int, skip: int) -> list[Point]:
        """Of an attempt's curve, but for the first so many."""
        return curve.read(self.path / str(attempt) / CURVE_FILE, skip)

    def told(self, name: str) -> Told | None:
        """How the task ended that has this folder; None where it has not."""
        file = self.path / name / RESULT_FILE
        try:
            return Told(Result.model_validate_json(file.read_bytes()), int(file.stat().st_mtime * 1000))
        except (OSError, ValidationError):
            return None

    def sent(self, run_id: str) -> Mapping[int, int]:
        """Points that were taken of each attempt, as far as any task wrote it down."""
        most: Counter[int] = Counter()
        for file in self.path.glob(f"*/{SENT_FILE}"):
            try:
                found = Sent.model_validate_json(file.read_bytes())
            except (OSError, ValidationError):
                continue
            if found.run_id == run_id:
                most |= Counter(found.points)
        return most


def write_sent(folder: Path, run_id: str, points: Mapping[int, int]) -> None:
    """For whoever sends the rest. Raises OSError."""
    sent = Sent(run_id=run_id, points=dict(points))
    write_durably(folder / SENT_FILE, sent.model_dump_json(by_alias=True).encode())
