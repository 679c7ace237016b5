"""The example's real data, as much of it as a test needs."""

import json
from pathlib import Path
from typing import Any

TANTANILA = Path(__file__).parents[2] / "examples" / "tantanila"

Rows = list[dict[str, Any]]


def rows(department: str, count: int) -> Rows:
    """The first rows of a real dataset."""
    lines = (TANTANILA / "data" / f"{department}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[:count]]


def as_lines(rows: Rows) -> str:
    """JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)
