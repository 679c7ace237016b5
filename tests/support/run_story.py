"""Two runs of one line on a cluster in memory, reconciled by operators that remember nothing; and what may happen."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from wardrobe.api.meta import Key
from wardrobe.kube.client import ConflictError, RefusedError
from wardrobe.plan.plan import Plan
from wardrobe_contracts.result import Result

from . import resources, results
from .fake_cluster import FakeCluster

NAMESPACE = "hospital"
RUNS = ("cardiology-a", "cardiology-b")
KEYS = [Key("BaseModel", NAMESPACE, "base"), *(Key("FineTuneJob", NAMESPACE, name) for name in RUNS)]
PREEMPTED = results.preempted("train")


@dataclass
class Story:
    """A cluster, and what can happen in it."""

    cluster: FakeCluster

    def reconcile(self, key: Key) -> Plan:
        """One reconcile by a fresh operator: nothing is remembered from the last one."""
        with contextlib.suppress(ConflictError, RefusedError):
            return asyncio.run(self.cluster.reconciler().reconcile(key))
        return Plan()

    def look(self) -> None:
        """The operator looks at everything once."""
        for key in KEYS:
            self.reconcile(key)

    def end_a_pod(self, choice: int, result: Result | None = None) -> None:
        """One running pod ends, well unless said otherwise."""
        if pods := self.cluster.answering():
            key = pods[choice % len(pods)]
            task = self.cluster.objects[key]["metadata"]["labels"]["wardrobe.dev/task"]
            self.cluster.end_pod(key, result or results.success(task))

    def lose_a_pod(self, choice: int) -> None:
        """A pod object disappears, with whatever it had to say."""
        if pods := self.cluster.pods(running=False):
            self.cluster.vanish(pods[choice % len(pods)])

    def spec(self, key: Key, **fields: Any) -> None:
        """Somebody changes fields of a spec; None takes one away."""
        with self.cluster.edited(key) as found:
            spec = found["spec"] | fields
            found["spec"] = {name: value for name, value in spec.items() if value is not None}

    def settle(self) -> None:
        """Let everything happen until nothing does."""
        for _ in range(60):
            before = self.cluster.contents()
            for key in [*KEYS, *(Key("Adapter", NAMESPACE, name) for name in self.cluster.names("Adapter"))]:
                self.reconcile(key)
            self.cluster.start_pods()
            busy = bool(self.cluster.answering())
            self.end_a_pod(0)
            self.cluster.collect_pods()
            if not busy and self.cluster.contents() == before:
                return
        raise AssertionError("it never settles")


def new_story(**spec: Any) -> Story:
    """With a base, claims and both runs, which have that in their specs; nothing has happened yet."""
    cluster = FakeCluster()
    for manifest in (resources.base_model(), *(resources.run(name, **spec) for name in RUNS)):
        cluster.put(manifest, NAMESPACE)
    for claim in ("wardrobe-store", "models", "datasets"):
        cluster.put(resources.claim(claim), NAMESPACE)
    return Story(cluster)


def in_training(**spec: Any) -> Story:
    """Both runs train."""
    story = new_story(**spec)
    for _ in ("inspect", "check"):
        story.look()
        story.cluster.start_pods()
        for _ in story.cluster.pods():
            story.end_a_pod(0)
    story.look()
    story.cluster.start_pods()
    return story
