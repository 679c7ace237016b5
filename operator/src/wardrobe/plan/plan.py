"""What a decision says: writes in order, one status, and when to look again."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from wardrobe.api.meta import Key, Status
from wardrobe.writes import Write

RESYNC_SECONDS = 300.0
"""Work in progress is looked at this often even if no watch tells of it."""


@dataclass(frozen=True)
class Plan:
    """The outcome of one decision. `writes` come before the status, `status` is written only where it differs."""

    status: Status | None = None
    told: str = ""
    """What an Event says beside the message, where this status brings one: more than a condition should keep."""
    writes: tuple[Write, ...] = ()
    requeue_after: float | None = None
    waits_on: Mapping[Key, Hashable] = field(default_factory=dict)
    """Resources that wake this one as soon as they say anything else than what it was decided by."""
    afterwards: tuple[Write, ...] = ()
    """Writes that hold only once the status says what they rely on."""
    progress_url: str | None = None
    """Where progress can be pulled while a training pod runs."""
