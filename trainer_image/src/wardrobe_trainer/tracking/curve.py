"""How an attempt trained, step by step: a file of lines, which is only ever longer."""

from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from wardrobe_contracts.base import Record

CURVE_FILE = "curve.jsonl"
POINTS = 10_000
"""Of a run at most, about: of a longer one every second, third, … step is written down."""


class Point(Record):
    """One optimizer step."""

    step: PositiveInt
    time: PositiveInt
    """Milliseconds since 1970: with it, a point that is sent twice is one point."""
    loss: float
    """Mean per label token of the step."""
    learning_rate: float
    tokens_per_second: float
    """Since the point before, padding left out."""
    peak_memory_bytes: NonNegativeInt


def read(path: Path, skip: int = 0) -> list[Point]:
    """The points, but for so many; none where there is no file. A last line without its end is not written yet."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [Point.model_validate_json(line) for line in lines[skip:]]


def bring(live: Path, kept: Path) -> None:
    """Append to `kept` what `live` has beyond it, whole lines only. Raises OSError."""
    if not live.exists():
        return
    done = kept.stat().st_size if kept.exists() else 0
    with live.open("rb") as file:
        file.seek(done)
        more = file.read()
    if whole := more[: more.rfind(b"\n") + 1]:
        with kept.open("ab") as file:
            file.write(whole)
