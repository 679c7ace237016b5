"""Workers: take a key, reconcile it, and put it back by what came of it."""

import logging
import time
from dataclasses import dataclass

from wardrobe.api.meta import Key
from wardrobe.deployment.lookout import Lookout
from wardrobe.deployment.podstates import PodAnswers, noting
from wardrobe.kube.client import ConflictError, RefusedError, UnavailableError
from wardrobe.metrics import Metrics
from wardrobe.plan.plan import Plan
from wardrobe.reconcile import Reconciler
from wardrobe.wakeups import Wakeups
from wardrobe.workqueue import WorkQueue

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """One of several; they share everything."""

    queue: WorkQueue
    reconciler: Reconciler
    wakeups: Wakeups
    lookout: Lookout
    metrics: Metrics

    async def run(self) -> None:
        """Work for ever."""
        while True:
            key = await self.queue.get()
            try:
                await self._work(key)
            finally:
                self.queue.done(key)

    async def _work(self, key: Key) -> None:
        began = time.monotonic()
        result = await self._outcome(key)
        self.metrics.reconcile_seconds.labels(key.kind).observe(time.monotonic() - began)
        self.metrics.reconciles.labels(key.kind, result).inc()

    async def _outcome(self, key: Key) -> str:
        """Reconcile once; every failure leaves the key in the queue, to be tried again."""
        try:
            with noting() as noted:
                plan = await self.reconciler.reconcile(key)
        except ConflictError as conflict:
            log.info("%s: starting over: %s", key, conflict)
            self.queue.retry(key)
            return "conflict"
        except (RefusedError, UnavailableError) as error:
            log.warning("%s: trying again later: %s", key, error)
            self.queue.retry(key)
            return "error"
        except Exception:  # a defect in one resource's path must not stop the others
            log.exception("%s: reconcile failed; trying again later", key)
            self.queue.retry(key)
            return "error"
        self._settle(key, plan, noted)
        return "done" if plan.requeue_after is None else "again"

    def _settle(self, key: Key, plan: Plan, noted: PodAnswers) -> None:
        self.queue.forget(key)
        self.lookout.follow(key, noted)
        self.wakeups.waits_on(key, plan.waits_on)
        if plan.requeue_after is not None:
            self.queue.add_after(key, plan.requeue_after)
