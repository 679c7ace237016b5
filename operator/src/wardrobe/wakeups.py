"""From a watch event to a key in the queue: only what a decision reads wakes a resource.

An event wakes when its gist is new; a gist leaves out what decisions do not read, above all our own status writes.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping

from wardrobe.api import adapter, adapterdeployment, basemodel, children, finetunejob
from wardrobe.api.meta import Key, Manifest
from wardrobe.api.reasons import ConditionType
from wardrobe.deployment import pod_troubles, replacement
from wardrobe.manifests import pod_status
from wardrobe.workqueue import WorkQueue

OWNERS = frozenset({basemodel.KIND, finetunejob.KIND, adapter.KIND, adapterdeployment.KIND})
"""Kinds that have Jobs or pods; labels may say anything."""

SUSPENDED = "suspended"
"""Gist of a Job that a queue holds, or somebody stopped; that it is let in again is news, too."""

ENDED = "ended"
"""Gist of a pod whose program has."""

log = logging.getLogger(__name__)


class Wakeups:
    """Turns events into keys, and remembers which resource waits on which other.

    `claiming` are uids of runs whose claim on a number stood when the operator began: these are not tidied up.
    """

    def __init__(self, queue: WorkQueue, claiming: frozenset[str] = frozenset()) -> None:
        self.claiming = claiming
        self._queue = queue
        self._gists: dict[str, Hashable] = {}
        self._told: set[str] = set()
        """uids of Jobs whose pod is there and has ended: their own end, which follows, is no news."""
        self._waiters: defaultdict[Key, dict[Key, Hashable]] = defaultdict(dict)
        """By what they wait on: who waits, and the readiness that was decided by."""
        self._waits: dict[Key, frozenset[Key]] = {}
        self._uses: dict[Key, frozenset[Key]] = {}
        self._bases: dict[Key, Manifest] = {}
        self._ended: dict[Key, bool] = {}
        """All runs that were seen, and whether they have ended."""

    def waits_on(self, key: Key, others: Mapping[Key, Hashable]) -> None:
        """From now on, `key` is woken when one of `others` says of its readiness anything else, and by no former ones.

        What it was decided by was read, and may be a state that no event shows: the next one may say what the last did.
        """
        for other in self._waits.pop(key, frozenset()):
            del self._waiters[other][key]
            if not self._waiters[other]:
                del self._waiters[other]
        if others:
            self._waits[key] = frozenset(others)
        for other, readiness in others.items():
            self._waiters[other][key] = readiness

    def resource_event(self, kind: str, event: str | None, manifest: Manifest) -> None:
        """One of our kinds was listed, added, changed or deleted. In a form of another release it wakes itself alone,
        to say so."""
        key = _key(kind, manifest)
        try:
            self._take_in(key, event, manifest)
        except (AttributeError, KeyError, TypeError) as error:
            log.warning("%s: event not understood: %r", key, error)
            self._queue.add(key, listed=event is None)

    def _take_in(self, key: Key, event: str | None, manifest: Manifest) -> None:
        kind = key.kind
        if kind == adapterdeployment.KIND:
            self._note_used(key, event, manifest)
        if kind == finetunejob.KIND:
            self._note_run(key, event, manifest)
        if kind == basemodel.KIND:
            self._note_base(key, event, manifest)
        changed = self._is_new(event, manifest, spec_gist(manifest), "spec")
        if kind == finetunejob.KIND:
            changed |= self._is_new(event, manifest, saving_gist(manifest), "saving")
            changed |= self._is_new(event, manifest, tracking_gist(manifest), "tracking")
        if (changed or not says_anything(manifest)) and not (event is None and self._rests(key, manifest)):
            self._queue.add(key, listed=event is None)
        gist = readiness_gist(manifest)
        says = None if event == "DELETED" else gist
        self._wake([waiter for waiter, knew in self._waiters.get(key, {}).items() if knew != says])
        if self._is_new(event, manifest, gist, "readiness"):
            self._wake(self._users(key))
        if kind == adapter.KIND:
            marked = manifest.get("status", {}).get("usedBy", [])
            self._wake([user for user in self._users(key) if user.name not in marked])

    def _may_matter(self, owner: Key) -> bool:
        """Whether a child that is listed may be news. A run that has ended left it; one that is yet to be listed is
        looked at then."""
        return owner.kind != finetunejob.KIND or self._ended.get(owner) is False

    def _rests(self, key: Key, manifest: Manifest) -> bool:
        """Whether there is nothing to do for what is listed: thousands of these cost an operator's start nothing."""
        if key.kind == finetunejob.KIND:
            kept = "ttlSecondsAfterFinished" not in manifest["spec"]
            return kept and run_ended(manifest) and manifest["metadata"]["uid"] not in self.claiming
        return key.kind == adapter.KIND and self._fits(key, manifest)

    def _fits(self, key: Key, manifest: Manifest) -> bool:
        """Whether an Adapter that nobody uses says what is so: Ready, on a base that was listed before it."""
        wanted = manifest["spec"]["baseModel"]
        base = Key(basemodel.KIND, key.namespace, wanted["name"])
        listed = self._bases.get(base)
        if listed is None or not accepted(manifest) or ready_digest_of(listed) != wanted["digest"]:
            return False
        self.waits_on(key, {base: readiness_gist(listed)})
        return True

    def serving_event(self, event: str | None, manifest: Manifest) -> None:
        """What an AdapterDeployment is made of, besides pods, was listed, added, changed or deleted."""
        labels = manifest["metadata"]["labels"]
        if children.OWNER_LABEL in labels and self._is_new(event, manifest, serving_gist(manifest)):
            namespace = manifest["metadata"]["namespace"]
            self._queue.add(Key(adapterdeployment.KIND, namespace, labels[children.OWNER_LABEL]), listed=event is None)

    def child_event(self, event: str | None, manifest: Manifest) -> None:
        """A Job or a pod that carries our labels was listed, added, changed or deleted."""
        labels = manifest["metadata"]["labels"]
        kind, name = labels.get(children.OWNER_KIND_LABEL), labels.get(children.OWNER_LABEL)
        if kind not in OWNERS or name is None:  # somebody else's, with a label like ours
            return
        owner = Key(kind, manifest["metadata"]["namespace"], name)
        pod = "backoffLimit" not in manifest["spec"]
        gist = pod_gist(manifest) if pod else job_gist(manifest, told=manifest["metadata"]["uid"] in self._told)
        if pod:
            self._note_end(event, manifest, gist)
        new = owner.kind in OWNERS and self._is_new(event, manifest, gist, recovers=pod)
        if new and (event is not None or self._may_matter(owner)):
            self._queue.add(owner, listed=event is None)

    def _note_base(self, key: Key, event: str | None, manifest: Manifest) -> None:
        if event == "DELETED":
            self._bases.pop(key, None)
        else:
            self._bases[key] = manifest

    def _note_run(self, key: Key, event: str | None, manifest: Manifest) -> None:
        if event == "DELETED":
            self._ended.pop(key, None)
        else:
            self._ended[key] = run_ended(manifest)

    def _note_end(self, event: str | None, pod: Manifest, gist: Hashable) -> None:
        made_by = {found["uid"] for found in pod["metadata"].get("ownerReferences", []) if found.get("controller")}
        if event == "DELETED":
            self._told -= made_by
        elif gist == ENDED:
            self._told |= made_by

    def _note_used(self, deployment: Key, event: str | None, manifest: Manifest) -> None:
        """Adapters that a deployment no longer names drop it from their status; it has put itself there."""
        now = frozenset() if event == "DELETED" else adapters_of(manifest)
        before = self._uses.pop(deployment, frozenset())
        if now:
            self._uses[deployment] = now
        self._wake(before - now)

    def _users(self, used: Key) -> list[Key]:
        return [user for user, adapters in self._uses.items() if used in adapters]

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
        return gist != before and (recovers or gist is not None or before == SUSPENDED)

    def _wake(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._queue.add(key)


def spec_gist(manifest: Manifest) -> Hashable:
    """What the user changes: the spec, or that the resource goes."""
    return (manifest["metadata"]["generation"], manifest["metadata"].get("deletionTimestamp"))


def saving_gist(run: Manifest) -> Hashable:
    """What the pulled progress says of checkpoints, beside their number: a condition says it, too."""
    progress = run.get("status", {}).get("progress") or {}
    gist = (progress.get("stage"), progress.get("problem")) if progress.get("problem") else bool(progress.get("saved"))
    return gist or None


def tracking_gist(run: Manifest) -> Hashable:
    """What the pulled progress says of tracking; how an error is worded is no news."""
    found = (run.get("status", {}).get("progress") or {}).get("tracking") or {}
    said = (found.get("runId"), found.get("reason"))
    return said if any(said) else None


def says_anything(manifest: Manifest) -> bool:
    """Not so for a new resource, nor one whose status was wiped: news each time, as kopf tells only the last of several
    events in a moment, and between two wipes it may have been written."""
    return bool(manifest.get("status", {}).get("conditions"))


def run_ended(run: Manifest) -> bool:
    """Whether a run's status says, of its spec as it is, that it has ended: nothing changes that."""
    return _said(run, ConditionType.SUCCEEDED) in {"True", "False"}


def accepted(found: Manifest) -> bool:
    """Whether an Adapter's status says, of its spec as it is, that it is ready and that nobody uses it."""
    return _said(found, ConditionType.READY) == "True" and not found["status"].get("usedBy")


def ready_digest_of(base: Manifest) -> str | None:
    """A BaseModel's digest, while it is ready."""
    return base["status"].get("digest") if _said(base, ConditionType.READY) == "True" else None


def _said(manifest: Manifest, condition: ConditionType) -> str | None:
    """A condition's status, where it is about the spec as it is."""
    status = manifest.get("status", {})
    if status.get("observedGeneration") != manifest["metadata"]["generation"]:
        return None
    return next((found["status"] for found in status.get("conditions", []) if found["type"] == condition), None)


def readiness_gist(manifest: Manifest) -> Hashable:
    """What others wait for: whether it is ready, and as what."""
    status = manifest.get("status", {})
    ready = [c["status"] for c in status.get("conditions", []) if c["type"] == ConditionType.READY]
    return (*ready, status.get("digest"), status.get("fingerprint"))


def adapters_of(deployment: Manifest) -> frozenset[Key]:
    """Adapters that a deployment's spec names, or that its status says are routed."""
    named = deployment["spec"]["departments"].values()
    routed = deployment.get("status", {}).get("departments", {}).values()
    names = {found["adapter"] for found in (*named, *routed) if "adapter" in found}
    return frozenset(Key(adapter.KIND, deployment["metadata"]["namespace"], name) for name in names)


def job_gist(job: Manifest, *, told: bool) -> Hashable:
    """An end that no pod has told, or a suspension; a Job that merely runs is its pod's business."""
    ended = [c["type"] for c in job.get("status", {}).get("conditions", []) if c["type"] in {"Complete", "Failed"}]
    if ended:
        return None if told else tuple(ended)
    return SUSPENDED if job["spec"].get("suspend") else None


def serving_gist(child: Manifest) -> Hashable:
    """All that somebody may change, why a Deployment gets no pods, and whether it has all; not how many there are."""
    content = {name: value for name, value in child.items() if name not in {"metadata", "status"}}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    deletion = child["metadata"].get("deletionTimestamp")
    if "replicas" not in child.get("spec", {}):
        return (digest, deletion)
    return (digest, deletion, pod_troubles.of_deployment(child), replacement.is_done(child))


def pod_gist(pod: Manifest) -> Hashable:
    """Stuck or ended, and for the one that reports progress its address; a pod on its way is no news."""
    labels = pod["metadata"]["labels"]
    if children.PART_LABEL in labels:
        gone = pod["metadata"].get("deletionTimestamp")
        return ("serving", pod_status.is_ready(pod), pod_status.ip(pod), gone, pod_troubles.of_pod(pod))
    containers = pod_status.containers(pod)
    if pod_status.has_ended(pod) or any(map(pod_status.terminated, containers)):
        return ENDED
    if leaving := pod["metadata"].get("deletionTimestamp"):
        return ("leaving", leaving)
    if stuck := [found[0] for found in map(pod_status.stuck, containers) if found]:
        return ("stuck", *sorted(stuck))
    if (words := pod_status.unschedulable(pod)) is not None:
        return ("unschedulable", words)
    ports = (port.get("name") for one in pod["spec"]["containers"] for port in one.get("ports", []))
    address = pod_status.address(pod)
    return ("running", address) if address and children.PROGRESS in ports else None


def _key(kind: str, manifest: Manifest) -> Key:
    return Key(kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"])
