"""Liveness: what of the operator is dead, by name. An empty answer is health."""

import asyncio
import time
from dataclasses import dataclass, field

from wardrobe import handlers
from wardrobe.workqueue import WorkQueue

STUCK_SECONDS = 300.0
"""A key that waited this long for a worker: the workers hang (an API request ends after 30 s)."""
START_SECONDS = 60.0
"""How long the watches may take to begin."""
WATCHER_NAME = "watcher for "
"""kopf names its watching tasks so."""


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
        if self.queue.oldest_seconds() > STUCK_SECONDS:
            ended.append("queue is stuck")
        if missing := self._missing_watches():
            ended.append(f"{missing} watches")
        return ended

    def _missing_watches(self) -> int:
        """Watches that do not run; a new operator gets time to begin them."""
        if time.monotonic() - self.began < START_SECONDS:
            return 0
        running = sum(task.get_name().startswith(WATCHER_NAME) for task in asyncio.all_tasks() if not task.done())
        return max(0, handlers.WATCHED * max(1, len(self.namespaces)) - running)
