"""What a decision says: writes in order, one status, and when to look again."""

from dataclasses import dataclass, field

from wardrobe.api.meta import Key, Manifest, Status

RESYNC_SECONDS = 300.0
"""Work in progress is looked at this often even if no watch tells of it."""


@dataclass(frozen=True)
class Apply:
    """Server-side apply. Without `force`, fields that somebody else has set are a reason to start over."""

    manifest: Manifest
    force: bool = True


@dataclass(frozen=True)
class Create:
    """Create, and start over where somebody else was first."""

    manifest: Manifest


@dataclass(frozen=True)
class Replace:
    """Replace under the resourceVersion in the manifest, and start over where it has changed since."""

    manifest: Manifest


@dataclass(frozen=True)
class Annotate:
    """Add annotations to an object; others' annotations stay."""

    key: Key
    annotations: dict[str, str]


@dataclass(frozen=True)
class Delete:
    """Delete an object with its dependents."""

    key: Key
    uid: str


Write = Apply | Create | Replace | Annotate | Delete


@dataclass(frozen=True)
class Plan:
    """The outcome of one decision. `writes` come before the status, `status` is written only where it differs."""

    status: Status | None = None
    writes: tuple[Write, ...] = ()
    requeue_after: float | None = None
    waits_on: frozenset[Key] = field(default_factory=frozenset)
    """Resources whose change wakes this one."""
    progress_url: str | None = None
    """Where progress can be pulled while a training pod runs."""
