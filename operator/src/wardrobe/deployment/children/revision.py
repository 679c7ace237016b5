"""History of an AdapterDeployment as ControllerRevisions: what was routed, per department, newest first.

The newest revision alone tells what can be rolled back to; the older ones say when what answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pydantic

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Manifest
from wardrobe_contracts.base import AdapterName

from .names import metadata

KEPT_ADAPTERS = 9
"""The routed adapter and as many previous ones as history.keepLoaded can ask for."""


@dataclass(frozen=True)
class Revision:
    """One entry. `adapters` maps departments to Adapter names, the routed one first; None where it cannot be read."""

    number: int
    adapters: dict[str, list[AdapterName]] | None


@dataclass(frozen=True)
class History:
    """What the entries say together: the highest number, and the adapters of the newest that can be read."""

    number: int
    adapters: dict[str, list[AdapterName]]


def history(revisions: Sequence[Revision]) -> History | None:
    """Of entries in order of their numbers. One that somebody has spoilt says nothing; its number stays taken."""
    if not revisions:
        return None
    readable = [found.adapters for found in revisions if found.adapters is not None]
    return History(revisions[-1].number, readable[-1] if readable else {})


def next_revision(latest: History | None, routed: dict[str, str | None]) -> Revision | None:
    """The revision to add, or None where the latest says it already.

    A department that has no route just now keeps its past; one that left the spec is forgotten.
    """
    before = latest.adapters if latest else {}
    adapters = {department: _newest_first(before.get(department, []), now) for department, now in routed.items()}
    adapters = {department: names for department, names in adapters.items() if names}
    if adapters == before:
        return None
    return Revision((latest.number if latest else 0) + 1, adapters)


def _newest_first(past: list[str], now: str | None) -> list[str]:
    return [now, *(old for old in past if old != now)][:KEPT_ADAPTERS] if now else past


def revision_manifest(deployment: AdapterDeploymentResource, revision: Revision) -> Manifest:
    """The ControllerRevision; its name makes two operators' attempts at one number meet."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata(deployment, f"{deployment.metadata.name}-{revision.number}"),
        "revision": revision.number,
        "data": {"versions": revision.adapters},
    }


def read_revision(manifest: Manifest) -> Revision:
    """As read."""
    try:
        return Revision(manifest["revision"], _Data.model_validate(manifest.get("data")).adapters)
    except pydantic.ValidationError:
        return Revision(manifest["revision"], None)


class _Data(pydantic.BaseModel):
    adapters: dict[str, list[AdapterName]] = pydantic.Field(alias="versions")
