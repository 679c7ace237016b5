"""Numbers of a line: claimed once, never used twice, whatever is deleted.

The record is the ConfigMap `wardrobe-line-<line>`: `next`, and one `claim.<run uid>` per run that has a number
and no Adapter in its status yet. It is changed only by create, or by replace with resourceVersion.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Line:
    """A line's record. `resource_version` is empty while there is none in the cluster."""

    name: str
    next: int = 1
    claims: dict[str, int] = field(default_factory=dict)
    resource_version: str = ""


def claim(line: Line, run_uid: str, taken: Iterable[int]) -> Line:
    """The line with a number for this run that no existing version has. Unchanged where the run has one."""
    numbers = set(taken)
    held = line.claims.get(run_uid)
    if held is not None and held not in numbers:
        return line
    number = max(line.next, max(numbers, default=0) + 1)
    return replace(line, next=number + 1, claims={**line.claims, run_uid: number})


def drop(line: Line, run_uid: str) -> Line:
    """The line without this run's claim; its number stays used."""
    return replace(line, claims={uid: number for uid, number in line.claims.items() if uid != run_uid})
