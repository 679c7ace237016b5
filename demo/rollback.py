"""Putting a department back under traffic, by a real `kubectl patch`, and what that cost."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import commands
from .cluster import Cluster
from .console import DemoError, Progress, command, tell
from .layout import duration
from .story import DEPARTMENT, DEPLOYMENT
from .traffic import PER_SECOND, Known, Reply, Traffic, flowing, learn

BEFORE = 5.0
AFTER = 5.0
"""Seconds of traffic before the patch, and after all routers have applied it."""
WITHIN = 60.0
STATE = (
    "jsonpath={.metadata.generation} {.status.observedGeneration}"
    f" {{.status.departments.{DEPARTMENT}.adapter}}"
    ' {.status.conditions[?(@.type=="RoutesApplied")].status}{"\\n"}'
)


@dataclass(frozen=True)
class Flip:
    """A department's change of adapter. Times are of the monotonic clock."""

    old: str
    new: str
    started: float
    """Before `kubectl patch` was started."""
    patched: float
    """It had ended."""
    applied: float
    """The status said that all routers work by it."""


@dataclass(frozen=True)
class Judgement:
    """What the traffic saw of it."""

    asked: int
    failed: list[Reply] = field(default_factory=list)
    wrong: list[Reply] = field(default_factory=list)
    misspoken: list[Reply] = field(default_factory=list)
    """Their text is not what the adapter in their header is known to answer."""
    alike: list[str] = field(default_factory=list)
    """Adapters that no text tells from another."""
    first: float | None = None
    """Seconds from the patch to the end of the first answer by the new adapter."""


def patch(adapter: str) -> list[str]:
    """kubectl's arguments that point the department at an Adapter."""
    document = {"spec": {"departments": {DEPARTMENT: {"adapter": adapter}}}}
    return ["patch", "adp", DEPLOYMENT, "--type=merge", "-p", json.dumps(document, separators=(",", ":"))]


def judge(replies: Sequence[Reply], flip: Flip, known: Known) -> Judgement:
    """Count what failed, answers by an adapter that was at no moment of theirs the routed one, and others' texts.

    The old adapter may answer what was asked before all routers had changed, the new one what ended after the patch
    was started. Every other department has one adapter all the time: that of its first answer.
    """
    good = [reply for reply in replies if reply.status == 200]
    constant = {reply.department: reply.adapter for reply in reversed(good)}

    def right(reply: Reply) -> bool:
        if reply.department != DEPARTMENT:
            return reply.adapter == constant[reply.department]
        old = reply.adapter == flip.old and reply.began <= flip.applied
        return old or (reply.adapter == flip.new and reply.ended >= flip.started)

    ends = [reply.ended for reply in good if reply.department == DEPARTMENT and reply.adapter == flip.new]
    return Judgement(
        asked=len(replies),
        failed=[reply for reply in replies if reply.status != 200],
        wrong=[reply for reply in good if not right(reply)],
        misspoken=[reply for reply in good if known.texts.get(reply.adapter) != reply.text],
        alike=known.alike,
        first=max(0.0, min(ends) - flip.patched) if ends else None,
    )


def report(flip: Flip, judgement: Judgement, *, restarts: str) -> list[str]:
    """The judgement in words."""
    first = "never" if judgement.first is None else duration(judgement.first)
    lines = [
        f"kubectl patch took                    {duration(flip.patched - flip.started)}",
        f"then, until {f'{flip.new} answered':<26}{first}",
        f"and until all routers had changed     {duration(max(0.0, flip.applied - flip.patched))}",
        f"questions asked meanwhile             {judgement.asked}",
        f"  without a good answer               {len(judgement.failed)}",
        f"  answered by a wrong adapter         {len(judgement.wrong)}",
        f"  with another text than its own      {len(judgement.misspoken)}",
        f"pods                                  {restarts}",
    ]
    kinds = dict.fromkeys(f"    {reply.status or 'no answer'}: {reply.error}" for reply in judgement.failed)
    alike = [f"answer alike, so that no text tells them apart: {', '.join(judgement.alike)}"] if judgement.alike else []
    return [*lines, *alike, *list(kinds)[:5]]


def under_traffic(cluster: Cluster, url: str, keys: dict[str, str], old: str, new: str) -> tuple[Flip, Judgement]:
    """Roll back while the departments ask."""
    known = learn(url, keys)
    tell(f"Each adapter was asked by its name; {len(known.texts)} answers of {known.tokens} tokens are known now.")
    traffic = Traffic(url, keys, known.tokens)
    tell(f"{len(keys)} departments ask, {PER_SECOND:g} questions a second in all.")
    with flowing(traffic), _watching(cluster) as applied:
        progress = Progress()
        _let_flow(traffic, BEFORE, progress)
        command(cluster.typed(*patch(new)))
        started = time.monotonic()
        cluster.read(*patch(new))
        patched = time.monotonic()
        flip = Flip(old, new, started, patched, _await(lambda: applied.get(new), started, progress))
        _let_flow(traffic, AFTER, progress)
    return flip, judge(traffic.replies, flip, known)


def _let_flow(traffic: Traffic, seconds: float, progress: Progress) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.5)
        progress.show(_counts(traffic.replies))
    progress.leave(_counts(traffic.replies))


def _counts(replies: Sequence[Reply]) -> str:
    failed = sum(reply.status != 200 for reply in replies)
    last = {reply.department: reply.adapter or "no answer" for reply in list(replies)}
    return f"{len(replies)} answers, {failed} failed; last: {', '.join(f'{k} by {v}' for k, v in sorted(last.items()))}"


def _await(seen: Callable[[], float | None], after: float, progress: Progress) -> float:
    """The first moment after another one at which all routers had applied it."""
    deadline = time.monotonic() + WITHIN
    while (moment := seen()) is None or moment < after:
        if time.monotonic() > deadline:
            raise DemoError(f"not all routers had changed after {WITHIN:g} s: kubectl describe adp {DEPLOYMENT}")
        progress.show("waiting for the routers")
        time.sleep(0.02)
    return moment


@contextmanager
def _watching(cluster: Cluster) -> Iterator[dict[str, float]]:
    """When the status last said of an Adapter that all routers send the department's requests to it."""
    argv = cluster.argv("get", "adp", DEPLOYMENT, "--watch", "-o", STATE)
    process = subprocess.Popen(argv, env=commands.environment(cluster.environment), stdout=subprocess.PIPE, text=True)
    moments: dict[str, float] = {}

    def read() -> None:
        for line in process.stdout or ():
            generation, observed, adapter, routed = [*line.split(), "", "", "", ""][:4]
            if generation == observed and routed == "True":
                moments[adapter] = time.monotonic()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield moments
    finally:
        process.terminate()
        process.wait()
        reader.join()
