"""From a watch event to a key in the queue: only what a decision reads wakes a resource.

An event wakes when its gist is new; a gist leaves out what decisions do not read, above all our own status writes.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable

from wardrobe.api import adapter, adapterdeployment, children
from wardrobe.api.meta import Key, Manifest
from wardrobe.api.reasons import ConditionType
from wardrobe.plan import pod_troubles
from wardrobe.plan.tasks import STUCK_REASONS
from wardrobe.workqueue import WorkQueue

MARKING_SECONDS = 0.1
"""A deployment that names another Adapter is looked at so much later, or as soon as the Adapter says that it is in use:
looked at before, it could only say that it waits for that, which would cost a rollback more than the wait."""


class Wakeups:
    """Turns events into keys, and remembers which resource waits on which other."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._gists: dict[str, Hashable] = {}
        self._waiters: defaultdict[Key, set[Key]] = defaultdict(set)
        self._waits: dict[Key, frozenset[Key]] = {}
        self._uses: dict[Key, frozenset[Key]] = {}

    def waits_on(self, key: Key, others: frozenset[Key]) -> None:
        """From now on, `key` is woken when one of `others` changes, and by no former ones."""
        for other in self._waits.pop(key, frozenset()):
            self._waiters[other].discard(key)
            if not self._waiters[other]:
                del self._waiters[other]
        if others:
            self._waits[key] = others
        for other in others:
            self._waiters[other].add(key)

    def resource_event(self, kind: str, event: str | None, manifest: Manifest) -> None:
        """One of our kinds was listed, added, changed or deleted."""
        key = _key(kind, manifest)
        begun = self._used(key, event, manifest) if kind == adapterdeployment.KIND else frozenset()
        changed = self._is_new(event, manifest, spec_gist(manifest), "spec")
        wiped = self._is_new(event, manifest, wiped_gist(manifest), "wiped")
        if begun:
            self._queue.add_after(key, MARKING_SECONDS)
        elif changed or wiped:
            self._queue.add(key)
        if self._is_new(event, manifest, readiness_gist(manifest), "readiness"):
            self._wake(self._waiters.get(key, ()))
            self._wake([user for user, used in self._uses.items() if key in used])

    def child_event(self, event: str | None, manifest: Manifest) -> None:
        """A Job or a pod that carries our labels was listed, added, changed or deleted."""
        labels = manifest["metadata"]["labels"]
        owner = Key(labels[children.OWNER_KIND_LABEL], manifest["metadata"]["namespace"], labels[children.OWNER_LABEL])
        pod = "backoffLimit" not in manifest["spec"]
        gist = pod_gist(manifest) if pod else job_gist(manifest)
        if self._is_new(event, manifest, gist, recovers=pod):
            self._queue.add(owner)

    def _used(self, deployment: Key, event: str | None, manifest: Manifest) -> frozenset[Key]:
        """Adapters that a deployment has come to name or no longer names say so in their status; the new ones.

        Known from the event itself, not only from what was decided: an Adapter's answer may come before the decision.
        """
        now = frozenset() if event == "DELETED" else adapters_of(manifest)
        before = self._uses.pop(deployment, frozenset())
        if now:
            self._uses[deployment] = now
        self._wake(before ^ now)
        return now - before

    def _is_new(
        self, event: str | None, manifest: Manifest, gist: Hashable, aspect: str = "child", *, recovers: bool = False
    ) -> bool:
        """Whether the gist is another than before. That there is none any more is news only where things recover."""
        mark = f"{manifest['metadata']['uid']}/{aspect}"
        if event == "DELETED":
            self._gists.pop(mark, None)
            return True
        before = self._gists.get(mark)
        self._gists[mark] = gist
        return gist != before and (recovers or gist is not None)

    def _wake(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._queue.add(key)


def spec_gist(manifest: Manifest) -> Hashable:
    """What the user changes: the spec, or that the resource goes."""
    return (manifest["metadata"]["generation"], manifest["metadata"].get("deletionTimestamp"))


def wiped_gist(manifest: Manifest) -> Hashable:
    """News only where there is no status: a new resource, or one whose status somebody wiped."""
    return None if manifest.get("status", {}).get("conditions") else "wiped"


def readiness_gist(manifest: Manifest) -> Hashable:
    """What others wait for: whether it is ready, as what, and for whom."""
    status = manifest.get("status", {})
    ready = [c["status"] for c in status.get("conditions", []) if c["type"] == ConditionType.READY]
    return (*ready, status.get("digest"), *status.get("usedBy", []))


def adapters_of(deployment: Manifest) -> frozenset[Key]:
    """Adapters that a deployment's spec names, or that its status says are routed."""
    named = deployment["spec"]["departments"].values()
    routed = deployment.get("status", {}).get("departments", {}).values()
    names = {found["adapter"] for found in (*named, *routed) if "adapter" in found}
    return frozenset(Key(adapter.KIND, deployment["metadata"]["namespace"], name) for name in names)


def job_gist(job: Manifest) -> Hashable:
    """An end that nobody has recorded, or a suspension; a Job that merely runs is its pod's business."""
    if children.RESULT_ANNOTATION in job["metadata"].get("annotations", {}):
        return None
    ended = [c["type"] for c in job.get("status", {}).get("conditions", []) if c["type"] in {"Complete", "Failed"}]
    suspended = bool(job["spec"].get("suspend"))
    return (tuple(ended), suspended) if ended or suspended else None


def pod_gist(pod: Manifest) -> Hashable:
    """Stuck or ended, and for the one that reports progress its address; a pod on its way is no news."""
    labels = pod["metadata"]["labels"]
    status = pod.get("status", {})
    if children.PART_LABEL in labels:
        ready = [c["status"] for c in status.get("conditions", []) if c["type"] == "Ready"]
        gone = pod["metadata"].get("deletionTimestamp")
        return ("serving", *ready, status.get("podIP"), gone, pod_troubles.of_pod(pod))
    containers = status.get("containerStatuses", [])
    ended = any("terminated" in c.get("state", {}) for c in containers) or status.get("phase") == "Failed"
    if ended:
        return "ended"
    waiting = {c.get("state", {}).get("waiting", {}).get("reason") for c in containers}
    if stuck := waiting & STUCK_REASONS:
        return ("stuck", *sorted(stuck))
    refused = [c.get("message") for c in status.get("conditions", []) if c.get("reason") == "Unschedulable"]
    if refused:
        return ("unschedulable", *refused)
    runs = status.get("phase") == "Running" and labels[children.TASK_LABEL] == "train"
    return ("running", status.get("podIP")) if runs else None


def _key(kind: str, manifest: Manifest) -> Key:
    return Key(kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"])
