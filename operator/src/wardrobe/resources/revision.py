"""History of an AdapterDeployment as ControllerRevisions: what was routed, per department, newest first.

The newest revision alone tells what can be rolled back to; the older ones say when what answered.
"""

from dataclasses import dataclass

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest

from .serving_names import metadata

KEPT_VERSIONS = 9
"""The routed version and as many previous ones as history.keepLoaded can ask for."""


@dataclass(frozen=True)
class Revision:
    """One entry. `versions` maps departments to Adapter names, the routed one first."""

    number: int
    versions: dict[str, list[str]]


def next_revision(latest: Revision | None, routed: dict[str, str | None]) -> Revision | None:
    """The revision to add, or None where the latest says it already.

    A department that has no route just now keeps its past; one that left the spec is forgotten.
    """
    before = latest.versions if latest else {}
    versions = {department: _newest_first(before.get(department, []), now) for department, now in routed.items()}
    versions = {department: names for department, names in versions.items() if names}
    if versions == before:
        return None
    return Revision((latest.number if latest else 0) + 1, versions)


def _newest_first(past: list[str], now: str | None) -> list[str]:
    return [now, *(old for old in past if old != now)][:KEPT_VERSIONS] if now else past


def revision_manifest(deployment: AdapterDeploymentResource, revision: Revision) -> Manifest:
    """The ControllerRevision; its name makes two operators' attempts at one number meet."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata(deployment, f"{deployment.metadata.name}-{revision.number}"),
        "revision": revision.number,
        "data": {"versions": revision.versions},
    }


def read_revision(manifest: Manifest) -> Revision:
    """As read."""
    return Revision(manifest["revision"], manifest["data"]["versions"])
