"""The ConfigMap that keeps a line's numbers, to and from `plan.lines.Line`."""

from wardrobe.api import children
from wardrobe.api.meta import Manifest
from wardrobe.plan.lines import Line

_CLAIM = "claim."


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
    claims = {f"{_CLAIM}{uid}": str(number) for uid, number in line.claims.items()}
    data = {"next": str(line.next), **claims}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def read_line(name: str, manifest: Manifest | None) -> Line:
    """The record as read; a line without one begins at 1. Raises KeyError or ValueError on a record not ours."""
    if manifest is None:
        return Line(name)
    data = manifest["data"]
    claims = {key.removeprefix(_CLAIM): int(value) for key, value in data.items() if key.startswith(_CLAIM)}
    return Line(name, int(data["next"]), claims, manifest["metadata"]["resourceVersion"])
