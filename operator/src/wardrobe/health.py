"""Liveness: what of the operator is dead, by name. An empty answer is health."""

import asyncio
import time
from dataclasses import dataclass, field

from wardrobe.workqueue import WorkQueue

from . import handlers

STUCK_SECONDS = 300.0
"""A worker that is with one key for so long hangs (an API request ends after 30 s, and one that failed ends the
reconcile). How long a key waits says nothing: at a cold start thousands do, and the last of them for long."""
START_SECONDS = 60.0
"""How long the watches may take to begin."""
WATCHER_NAME = "watcher for "
"""kopf names its watching tasks so, and so do we."""


@dataclass(frozen=True)
class Liveness:
    """Looks at the queue, at our tasks, and at kopf's."""

    queue: WorkQueue
    tasks: list[asyncio.Task[None]]
    namespaces: tuple[str, ...]
    began: float = field(default_factory=time.monotonic)

    def dead(self) -> list[str]:
        """What is dead or stuck; to be called inside the operator's event loop."""
        ended = [task.get_name() for task in self.tasks if task.done()]
        if self.queue.stalled_seconds() > STUCK_SECONDS:
            ended.append("work is stuck")
        if missing := self._missing_watches():
            ended.append(f"{missing} watches")
        return ended

    def _missing_watches(self) -> int:
        """Watches that do not run; a new operator gets time to begin them."""
        if time.monotonic() - self.began < START_SECONDS:
            return 0
        running = sum(task.get_name().startswith(WATCHER_NAME) for task in asyncio.all_tasks() if not task.done())
        return max(0, handlers.WATCHED * max(1, len(self.namespaces)) - running)
