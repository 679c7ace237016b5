"""What may be written to the Kubernetes API, as values: decisions make them, the client carries them out."""

from dataclasses import dataclass

from wardrobe.api.meta import Key, Manifest

FIELD_MANAGER = "wardrobe"
"""Under which name we apply. Who changes a field takes it over from the former managers."""


@dataclass(frozen=True)
class Apply:
    """Server-side apply. Without `force`, fields that somebody else has set are a reason to start over."""

    manifest: Manifest
    force: bool = True


@dataclass(frozen=True)
class DropEntry:
    """Take an entry out of a ConfigMap, and touch nothing else in it."""

    key: Key
    entry: str


@dataclass(frozen=True)
class Create:
    """Create, and start over where somebody else was first."""

    manifest: Manifest
    if_refused: DropEntry | None = None
    """What was written down for the object, and does not hold where the API says that it did not make it."""


@dataclass(frozen=True)
class Replace:
    """Replace under the resourceVersion in the manifest, and start over where it has changed since."""

    manifest: Manifest


@dataclass(frozen=True)
class Delete:
    """Delete an object with its dependents."""

    key: Key
    uid: str
    foreground: bool = False
    """Whether it stays, as one that is being deleted, until its dependents are gone."""


@dataclass(frozen=True)
class MarkInUse:
    """Add an AdapterDeployment to an Adapter's status.usedBy, and touch nothing else in it.

    Start over where the Adapter is gone.
    """

    key: Key
    user: str


Write = Apply | Create | Replace | Delete | MarkInUse | DropEntry


def create_or_replace(manifest: Manifest) -> Create | Replace:
    """What writes an object that was read first: it carries the resourceVersion that it had, if it was there."""
    return Replace(manifest) if manifest["metadata"].get("resourceVersion") else Create(manifest)
