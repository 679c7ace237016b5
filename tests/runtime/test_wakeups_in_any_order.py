"""Events alone carry a life to its end, in whatever order kinds are listed and told of, and whoever was away meanwhile.

The operator here reconciles only what its wakeups say, and what a plan wants again without waiting for anything. Looks
that are taken again after a while hide a lost event, and are left out.
"""

import asyncio
import copy
import itertools
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.gauntlet import TIMES
from support.run_story import KEYS, Story, new_story

from wardrobe.api.meta import Key, Manifest
from wardrobe.kube.client import ConflictError
from wardrobe.run.lines import read_line
from wardrobe.wakeups import Wakeups
from wardrobe.workqueue import WorkQueue

KINDS = ("BaseModel", "FineTuneJob", "Adapter", "Job", "Pod")
CHILDREN = {"Job", "Pod"}


@dataclass
class Operator:
    """One operator's life: what it was told of, by kind, and what it waits to do."""

    story: Story
    queue: WorkQueue = field(default_factory=lambda: WorkQueue(lambda: 0.0))
    told: dict[str, dict[Key, Manifest]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lines = (found for key, found in self.objects("ConfigMap").items() if "line" in key.name)
        self.wakeups = Wakeups(self.queue, frozenset(uid for found in lines for uid in read_line("", found).claims))

    def objects(self, kind: str) -> dict[Key, Manifest]:
        """All of a kind, as they are now."""
        return {key: copy.deepcopy(found) for key, found in self.story.cluster.objects.items() if key.kind == kind}

    def hear(self, kind: str) -> None:
        """A kind's listing, the first time; then what has changed since."""
        before, now = self.told.get(kind), self.objects(kind)
        self.told[kind] = now
        for key, found in now.items():
            if before is None or found != before.get(key):
                self._deliver(kind, None if before is None else "MODIFIED" if key in before else "ADDED", found)
        for key, gone in (before or {}).items():
            if key not in now:
                self._deliver(kind, "DELETED", gone)

    def _deliver(self, kind: str, event: str | None, found: Manifest) -> None:
        if kind in CHILDREN:
            self.wakeups.child_event(event, found)
        else:
            self.wakeups.resource_event(kind, event, found)

    async def work(self, keys: int = 1000) -> None:
        """Do what waits, for so many keys."""
        while self.queue.depth() and keys:
            keys -= 1
            key = await self.queue.get()
            if await self._again(key):
                self.queue.add(key)
            self.queue.done(key)

    async def _again(self, key: Key) -> bool:
        """Reconcile once; whether it is wanted again without an event."""
        try:
            plan = await self.story.cluster.reconciler().reconcile(key)
        except ConflictError:
            return True
        self.wakeups.waits_on(key, plan.waits_on)
        return bool(plan.requeue_after == 0)


STEPS = 150
"""About as many as a life takes, at one kind told and one key worked on in each."""
SUSPEND, RESUME = "the first run is suspended", "the first run is resumed"
interruptions = st.dictionaries(
    st.integers(0, STEPS), st.sampled_from(["another operator", SUSPEND, RESUME, *range(5)]), max_size=6
)
"""By step: another operator begins, what somebody does with a run, or whose status is wiped."""


async def live(order: list[str], happens: dict[int, str | int]) -> Operator:
    """In each step one kind is told of, the last state of each object only, one key worked on, and the pods go on."""
    operator = Operator(new_story())
    story = operator.story
    for step, kind in zip(range(STEPS), itertools.cycle(order), strict=False):
        if (what := happens.get(step)) == "another operator":
            operator = Operator(story)
        elif what in {SUSPEND, RESUME}:
            story.spec(KEYS[1], suspend=what == SUSPEND)
        elif isinstance(what, int):
            ours = [*KEYS, *operator.objects("Adapter")]
            wiped = story.cluster.objects[ours[what % len(ours)]]
            wiped.pop("status", None)
            wiped["metadata"]["resourceVersion"] += "-wiped"
        operator.hear(kind)
        await operator.work(1)
        story.cluster.start_pods()
        story.end_a_pod(step)
        story.cluster.collect_pods()
    story.spec(KEYS[1], suspend=False)
    return operator


async def to_the_end(operator: Operator, order: list[str]) -> None:
    """All is told, done and ended, until nothing happens any more."""
    story = operator.story
    for _ in range(60):
        before = copy.deepcopy(story.cluster.objects)
        for kind in order:
            operator.hear(kind)
        await operator.work()
        story.cluster.start_pods()
        story.end_a_pod(0)
        story.cluster.collect_pods()
        if story.cluster.objects == before:
            return
    raise AssertionError("it never settles")


@given(st.permutations(KINDS), interruptions)
@example(  # an Adapter is looked at while its base's status is wiped, of which no event tells
    ["FineTuneJob", "Adapter", "Job", "BaseModel", "Pod"], {0: "another operator", 104: "another operator", 109: 0}
)
@settings(max_examples=40 * TIMES, deadline=None)
def test_no_wakeup_is_lost(order: list[str], happens: dict[int, str | int]) -> None:
    async def story_of_all() -> Story:
        operator = await live(order, happens)
        await to_the_end(operator, order)
        return operator.story

    story = asyncio.run(story_of_all())
    objects, writes = story.cluster.objects, story.cluster.writes
    adapters = [key for key in objects if key.kind == "Adapter"]
    assert len(adapters) == 2
    assert {_condition(objects[key], "Succeeded") for key in KEYS[1:]} == {"True"}
    assert {_condition(objects[key], "Ready") for key in (KEYS[0], *adapters)} == {"True"}
    for key in (*KEYS, *adapters):
        story.reconcile(key)
    assert story.cluster.writes == writes, "nothing was left to do"


def _condition(found: Manifest, kind: str) -> str | None:
    return next((c["status"] for c in found.get("status", {}).get("conditions", []) if c["type"] == kind), None)
