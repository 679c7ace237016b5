"""Numbers of a line: claimed once, never used twice, whatever is deleted.

The record is the ConfigMap `wardrobe-line-<line>`: `next`, and one `claim.<run uid>` per run that has a number
and no Adapter in its status yet. A number is claimed only by create, or by replace with resourceVersion.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from wardrobe.api import children
from wardrobe.api.meta import Manifest

_CLAIM = "claim."


@dataclass(frozen=True)
class Line:
    """A line's record. `resource_version` is empty while there is none in the cluster."""

    name: str
    next: int = 1
    claims: dict[str, int] = field(default_factory=dict)
    resource_version: str = ""


def claim(line: Line, run_uid: str, taken: Iterable[int]) -> Line:
    """The line with a number for this run that no existing Adapter has. Unchanged where the run has one."""
    numbers = set(taken)
    claimed = line.claims.get(run_uid)
    if claimed is not None and claimed not in numbers:
        return line
    number = max(line.next, max(numbers, default=0) + 1)
    return replace(line, next=number + 1, claims={**line.claims, run_uid: number})


def claim_entry(uid: str) -> str:
    """Under which the record has a run's claim."""
    return f"{_CLAIM}{uid}"


def line_name(line: str) -> str:
    """Name of the line's ConfigMap."""
    return f"wardrobe-line-{line}"


def line_manifest(line: Line, namespace: str) -> Manifest:
    """The record; no owner, so that it outlives all runs. Carries the resourceVersion it was read at."""
    metadata: Manifest = {
        "name": line_name(line.name),
        "namespace": namespace,
        "labels": {children.MANAGED_BY_LABEL: children.MANAGED_BY, children.LINE_LABEL: line.name},
    }
    if line.resource_version:
        metadata["resourceVersion"] = line.resource_version
    claims = {claim_entry(uid): str(number) for uid, number in line.claims.items()}
    data = {"next": str(line.next), **claims}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def read_line(name: str, manifest: Manifest | None) -> Line:
    """The record as read; a line without one begins at 1. Raises KeyError or ValueError on a record not ours."""
    if manifest is None:
        return Line(name)
    data = manifest["data"]
    claims = {key.removeprefix(_CLAIM): int(value) for key, value in data.items() if key.startswith(_CLAIM)}
    return Line(name, int(data["next"]), claims, manifest["metadata"]["resourceVersion"])
