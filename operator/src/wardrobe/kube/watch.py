"""Events of what comes in masses: Jobs, pods, and what serving is made of.

kopf watches our own kinds. For a child it does fifty things that nobody asked for; here an event is read and handed
over, at about a third of the cost, and a run has thirty of them. Like kopf, a watch that was cut goes on where it was,
one that has expired lists again, and what was deleted in such a gap is not told.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from wardrobe.api.meta import Manifest

from .client import ExpiredError, KubeClient, UnavailableError

RECONNECT_SECONDS = 0.1
"""After a watch that ended; the apiserver ends each now and then."""
UNAVAILABLE_SECONDS = 1.0
"""After a request that failed."""

Deliver = Callable[[str | None, Manifest], None]
"""Takes ADDED, MODIFIED, DELETED or, of a listing, None; and the object."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watch:
    """One kind's events in a namespace (in all, if it is empty), by label selector."""

    kube: KubeClient
    kind: str
    namespace: str
    selector: str
    deliver: Deliver
    reconnect: float = RECONNECT_SECONDS
    unavailable: float = UNAVAILABLE_SECONDS

    async def run(self) -> None:
        """List, then watch, for ever."""
        since: str | None = None
        while True:
            try:
                since = await self._follow(since or await self._list())
                await asyncio.sleep(self.reconnect)
            except ExpiredError:
                since = None
                await asyncio.sleep(self.reconnect)
            except UnavailableError as error:
                log.info("watch of %s: %s", self.kind, error)
                await asyncio.sleep(self.unavailable)

    async def _list(self) -> str:
        """Where the listing ended."""
        resource_version = ""
        async for page in self.kube.pages(self.kind, self.namespace, self.selector):
            for found in page["items"]:
                self._hand_over(None, found)
            resource_version = page["metadata"]["resourceVersion"]
        return resource_version

    async def _follow(self, since: str) -> str:
        """Where the watch ended."""
        try:
            async for event in self.kube.events(self.kind, self.namespace, self.selector, since):
                since = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._hand_over(event["type"], event["object"])
        except UnavailableError as error:  # goes on where it was
            log.info("watch of %s was cut: %s", self.kind, error)
            await asyncio.sleep(self.unavailable)
        return since

    def _hand_over(self, event: str | None, found: Manifest) -> None:
        try:
            self.deliver(event, found)
        except Exception:  # what somebody gave our labels, in a form of his own, must not stop the others
            log.exception("%s %s: event not understood", self.kind, found["metadata"]["name"])
