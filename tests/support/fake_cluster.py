"""A cluster in memory, for stories that need thousands of orders of events.

It keeps what decisions rely on: resourceVersions that change with an object, generations that change with its spec,
statuses that only a write of the status changes, owners of fields, 409 on what is stale or exists, merge patches, uid
preconditions, and garbage collection in the background. It can die after any write.
"""

import copy
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from wardrobe.api import children
from wardrobe.api.meta import Key, Manifest
from wardrobe.deployment.children.routes import read_routes
from wardrobe.deployment.podstates import PodStates, States
from wardrobe.kube.client import ConflictError, RefusedError
from wardrobe.reconcile import Reconciler
from wardrobe.run.progress import ProgressPoller
from wardrobe.settings import Settings
from wardrobe.writes import FIELD_MANAGER, Apply, Create, Delete, DropEntry, MarkInUse, Replace, Write
from wardrobe_contracts.engines import EngineType
from wardrobe_contracts.result import Result
from wardrobe_contracts.routes import Routes

from . import resources
from .documented import require_documented
from .field_ownership import FieldConflictError, FieldOwnership
from .job_controller import COMPLETION_INDEX, followed

Keys = list[Key]
Names = list[str]
Manifests = list[Manifest]
"""`list` is a method of the class below."""
UPDATES = f"{FIELD_MANAGER} (update)"

SETTINGS = Settings("trainer", "gateway", dict.fromkeys(EngineType, "engine"), user_id=4242)
GRACE_SECONDS = 60


class KilledError(BaseException):
    """The operator process is gone; nothing in it runs any more."""


class FakeCluster:
    """Objects by key; a `wardrobe.kube.client.Kube`, as far as reconciling goes."""

    def __init__(self) -> None:
        self.objects: dict[Key, Manifest] = {}
        self.writes_left: int | None = None
        """Writes until the operator is killed; None for ever."""
        self.writes = 0
        self.reads = 0
        """Objects that were got, or listed."""
        self.events: list[Manifest] = []
        self.created: list[Key] = []
        """Everything that the operator ever made, in order."""
        self.listed: list[tuple[str, str, str]] = []
        """Kind, label selector and field selector of every list."""
        self.now = resources.TIME
        """By the control plane's clock."""
        self.lost: set[Key] = set()
        """Pods on nodes that are gone."""
        self._counter = itertools.count(1)
        self._owned: dict[str, FieldOwnership] = {}
        """By uid."""

    def reconciler(self, states: States | None = None) -> Reconciler:
        """A fresh operator's, which remembers nothing. Progress is another story: nothing runs the poller."""
        poller = ProgressPoller(self, time.monotonic, lambda: self.now)
        return Reconciler(self, SETTINGS, poller, states or PodStates(), lambda: self.now)

    async def get(self, key: Key) -> Manifest | None:
        self.reads += 1
        return copy.deepcopy(self.objects.get(key))

    async def list(self, kind: str, namespace: str, selector: str = "", *, fields: str = "") -> Manifests:
        self.listed.append((kind, selector, fields))
        wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
        found = [
            copy.deepcopy(found)
            for key, found in sorted(self.objects.items())
            if (key.kind, key.namespace) == (kind, namespace)
            and wanted.items() <= _labels(found).items()
            and (not fields or _has_field(found, fields))
        ]
        self.reads += len(found)
        return found

    async def write(self, write: Write) -> None:
        match write:
            case Create(manifest, if_refused) if if_refused and _key(manifest) in self.objects:
                await self.write(if_refused)
                raise RefusedError(f"{_key(manifest).name} already exists")
            case Create(manifest):
                self._create(manifest)
            case Apply(manifest, force):
                self._apply(_key(manifest), _with_status(manifest, None), FIELD_MANAGER, force=force)
            case Replace(manifest):
                self._replace(manifest)
            case DropEntry(key, entry):
                self._merge(key, {"data": {entry: None}})
            case Delete(key, uid, foreground):
                self._delete(key, uid, foreground=foreground)
            case MarkInUse(key, user):
                self._expect(key, None)
                self._apply(key, {"status": {"usedBy": [user]}}, f"{FIELD_MANAGER}-{user}", force=True)
        self._count()

    def _create(self, manifest: Manifest) -> None:
        if _key(manifest) in self.objects:
            raise ConflictError("exists")
        self._store(_with_status(manifest, None), UPDATES)
        self.created.append(_key(manifest))

    def _replace(self, manifest: Manifest) -> None:
        key = _key(manifest)
        self._expect(key, manifest["metadata"].get("resourceVersion"))
        self._store(_with_status(manifest, self.objects[key].get("status")), UPDATES)

    def _delete(self, key: Key, uid: str, *, foreground: bool) -> None:
        if key not in self.objects or self.objects[key]["metadata"]["uid"] != uid:
            return
        pods = self.pods_of(self.objects[key]) if foreground else []
        if not pods:
            self.delete(key)
            return
        self.objects[key]["metadata"].setdefault("deletionTimestamp", later(self.now, GRACE_SECONDS))
        for pod in pods:
            self.delete(pod)

    async def patch_status(self, key: Key, patch: Manifest, resource_version: str | None = None) -> None:
        require_documented(key.kind, patch)
        self._expect(key, resource_version)
        self._merge(key, {"status": patch})
        self._count()

    async def post_event(self, event: Manifest) -> None:
        self.events.append(event)
        self._count()

    def put(self, manifest: Manifest, namespace: str = "") -> Manifest:
        """Create or replace with its status, as a user and a controller would together."""
        placed = {**manifest["metadata"], "namespace": namespace} if namespace else manifest["metadata"]
        return self._store({**manifest, "metadata": placed}, "somebody (update)")

    @contextmanager
    def edited(self, key: Key) -> Iterator[Manifest]:
        """An object to change in the block, as a user does."""
        found = copy.deepcopy(self.objects[key])
        yield found
        self.put(found)

    def contents(self) -> dict[Key, Manifest]:
        """All objects as they are now, for comparing: what was written and taken back is no difference."""
        found = copy.deepcopy(self.objects)
        for manifest in found.values():
            del manifest["metadata"]["resourceVersion"]
        return found

    def _apply(self, key: Key, wanted: Manifest, manager: str, *, force: bool) -> None:
        before = self.objects.get(key)
        if before is None:
            self.created.append(key)
            named = {"name": key.name, "namespace": key.namespace, "uid": self._new_uid()}
            before = {"apiVersion": wanted["apiVersion"], "kind": key.kind, "metadata": named}
        try:
            owned = self._owned.setdefault(before["metadata"]["uid"], FieldOwnership())
            self._keep(key, owned.apply(before, _sent(wanted), manager, force=force))
        except FieldConflictError as error:
            raise ConflictError(str(error)) from error

    def _merge(self, key: Key, patch: Manifest) -> None:
        self._expect(key, None)
        after = copy.deepcopy(self.objects[key])
        _merge(after, patch)
        self._store(after, UPDATES)

    def _store(self, manifest: Manifest, manager: str) -> Manifest:
        """Create or replace by a write that is no apply."""
        key = _key(manifest)
        before, after = self.objects.get(key, {}), _sent(manifest)
        uid = before["metadata"]["uid"] if before else self._new_uid()
        after["metadata"]["uid"] = uid
        self._owned.setdefault(uid, FieldOwnership()).update(before, after, manager)
        return self._keep(key, after)

    def _new_uid(self) -> str:
        return f"{next(self._counter):08d}-uid"

    def _keep(self, key: Key, after: Manifest) -> Manifest:
        """As the apiserver stores it: what changes nothing gives no new resourceVersion."""
        before = self.objects.get(key)
        metadata = after["metadata"]
        if before is None:
            metadata["generation"] = 1
            metadata.setdefault("creationTimestamp", self.now)
        else:
            metadata["creationTimestamp"] = before["metadata"]["creationTimestamp"]
            same = before.get("spec") == after.get("spec")
            metadata["generation"] = before["metadata"]["generation"] + (0 if same else 1)
            metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
        if after != before:
            metadata["resourceVersion"] = str(next(self._counter))
            self.objects[key] = after
        return self.objects[key]

    def delete(self, key: Key) -> None:
        """Delete with dependents, as the garbage collector would in the end; tasks that run have their grace first."""
        if key in self.pods() and children.TASK_LABEL in _labels(self.objects[key]):
            self.objects[key]["metadata"].setdefault("deletionTimestamp", later(self.now, GRACE_SECONDS))
            return
        gone = self.objects.pop(key, None)
        if gone is None:
            return
        uid = gone["metadata"]["uid"]
        for other, found in list(self.objects.items()):
            if any(ref["uid"] == uid for ref in found["metadata"].get("ownerReferences", [])):
                self.delete(other)

    def start_pods(self) -> None:
        """The Job controller's part: the pods of each Job that has neither pod nor end, is not suspended, and stays."""
        for key, job in list(self.objects.items()):
            status = job.setdefault("status", {}) if key.kind == "Job" else {}
            ended = "conditions" in status or "startTime" in status or "deletionTimestamp" in job["metadata"]
            if key.kind != "Job" or job["spec"].get("suspend") or ended or self.pods_of(job):
                continue
            status["startTime"] = self.now
            for index in range(job["spec"].get("parallelism", 1)):
                pod = resources.pod_of(job, job, f"{key.name}-{index}-{job['metadata']['resourceVersion']}")
                pod["metadata"]["labels"] = {**pod["metadata"]["labels"], COMPLETION_INDEX: str(index)}
                self.put(pod)

    def start_replicas(self) -> None:
        """The Deployment controller's part, and the kubelet's: as many pods as are wanted, Ready at once."""
        for key, made in list(self.objects.items()):
            if key.kind == "Deployment":
                replica_set = self.objects.get(Key("ReplicaSet", key.namespace, key.name))
                replica_set = replica_set or self.put(resources.replica_set_of(made))
                for number in range(made["spec"]["replicas"]):
                    pod = resources.pod_of(made, replica_set, f"{key.name}-{number}")
                    if _key(pod) not in self.objects:
                        self.put({**pod, "status": resources.ready_status()})

    def routes(self, namespace: str, deployment: str) -> Routes | None:
        """An AdapterDeployment's routes in force."""
        return read_routes(self.objects.get(Key("ConfigMap", namespace, f"{deployment}-routes")))

    def vanish(self, key: Key) -> None:
        """A pod's object goes at once, with all that it had to say."""
        del self.objects[key]

    def suspend(self, key: Key) -> None:
        """A queue's part, and the Job controller's: the pod is told to stop."""
        job = self.objects[key]
        job["spec"]["suspend"] = True
        for pod in self.pods_of(job):
            self.delete(pod)

    def resume(self, key: Key) -> None:
        """A Job that is resumed starts a pod when the last one is gone; one that has an end does not."""
        job = self.objects[key]
        if not job["spec"].pop("suspend", False):
            return
        if not job.get("status", {}).get("conditions"):
            job.get("status", {}).pop("startTime", None)

    def disrupt(self, key: Key) -> None:
        """An eviction: the pod is marked, and told to stop; its container may be saving."""
        mark = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        self.objects[key].setdefault("status", {})["conditions"] = [mark]
        self.delete(key)

    def collect_pods(self) -> None:
        """Pods that were told to stop, and have, go; then Jobs that are being deleted and have none any more."""
        for key, pod in list(self.objects.items()):
            if key.kind == "Pod" and "deletionTimestamp" in pod["metadata"] and key not in self.pods():
                self.delete(key)
        for key, job in list(self.objects.items()):
            if key.kind == "Job" and "deletionTimestamp" in job["metadata"] and not self.pods_of(job):
                self.delete(key)

    def pods_of(self, job: Manifest) -> Keys:
        """A Job's pods."""
        return [key for key, found in self.objects.items() if key.kind == "Pod" and _job_uid(found) == _uid(job)]

    def end_pod(self, key: Key, result: Result | None) -> None:
        """The kubelet's part: the container ends with a message; without a result the message is lost."""
        terminated: Manifest = {"exitCode": int(result.exit_code) if result else 70}
        if result:
            terminated["message"] = result.termination_message()
        self.terminate(key, terminated)

    def terminate(self, key: Key, terminated: Manifest | None) -> None:
        """A pod's container ends so; or, for None, the pod ends before it has one. Its Job follows, and others with it.

        A pod that is marked as disrupted stays so.
        """
        pod = self.objects[key]
        containers = [{"name": children.CONTAINER, "state": {"terminated": terminated}}] if terminated else []
        phase = "Succeeded" if terminated and terminated["exitCode"] == 0 else "Failed"
        marks = pod.get("status", {}).get("conditions", [])
        pod["status"] = {"phase": phase, "containerStatuses": containers, "conditions": marks}
        for job in list(self.objects.values()):
            if job["kind"] == "Job" and _uid(job) == _job_uid(pod):
                self._follow(job, missing=False)

    def control_jobs(self) -> None:
        """The Job controller's part where pods are gone: their Jobs fail."""
        for job in [found for key, found in self.objects.items() if key.kind == "Job"]:
            self._follow(job, missing=True)

    def _follow(self, job: Manifest, *, missing: bool) -> None:
        for pod in followed(job, [self.objects[key] for key in self.pods_of(job)], missing=missing):
            self.delete(_key(pod))

    def lose_node(self, key: Key) -> None:
        """A pod's node is gone: the control plane tells the pod to stop, and nobody hears it."""
        self.lost.add(key)
        self.disrupt(key)

    def answering(self) -> Keys:
        """Pods that run, and whose nodes are there."""
        return [key for key in self.pods() if key not in self.lost]

    def pods(self, *, running: bool = True) -> Keys:
        """Pods; only those that still run."""
        return sorted(
            key for key, pod in self.objects.items() if key.kind == "Pod" and not (running and _has_ended(pod))
        )

    def names(self, kind: str) -> Names:
        """Names of all objects of a kind."""
        return sorted(key.name for key in self.objects if key.kind == kind)

    def _expect(self, key: Key, resource_version: str | None) -> None:
        found = self.objects.get(key)
        if found is None or resource_version not in {None, found["metadata"]["resourceVersion"]}:
            raise ConflictError(f"{key} has changed")

    def _count(self) -> None:
        self.writes += 1
        if self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left <= 0:
                raise KilledError


def kill_after(cluster: FakeCluster, writes: int, settle: Callable[[], object]) -> None:
    """The operator dies right after so many writes, and another begins. Fails where it makes fewer."""
    cluster.writes_left = writes
    with pytest.raises(KilledError):
        settle()
    cluster.writes_left = None
    settle()


def later(time: str, seconds: float) -> str:
    """A time as the API writes it, so much after another."""
    return (datetime.fromisoformat(time) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _has_ended(pod: Manifest) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def _uid(manifest: Manifest) -> str:
    uid: str = manifest["metadata"]["uid"]
    return uid


def _job_uid(pod: Manifest) -> str:
    uid: str = pod["metadata"].get("ownerReferences", [{"uid": ""}])[0]["uid"]
    return uid


def _has_field(manifest: Manifest, fields: str) -> bool:
    """`spec.line=cardiology`."""
    path, _, wanted = fields.partition("=")
    found: Any = manifest
    for name in path.split("."):
        found = found[name]
    return bool(found == wanted)


def _labels(manifest: Manifest) -> dict[str, str]:
    labels: dict[str, str] = manifest["metadata"].get("labels", {})
    return labels


def _key(manifest: Manifest) -> Key:
    return Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])


def _sent(manifest: Manifest) -> Manifest:
    """As JSON carries it: a copy, and of an enumeration's member its value."""
    found: Manifest = json.loads(json.dumps(manifest))
    return found


def _with_status(manifest: Manifest, status: Manifest | None) -> Manifest:
    """Whatever a writer of the rest says of it."""
    rest = {name: value for name, value in manifest.items() if name != "status"}
    return rest if status is None else {**rest, "status": status}


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict):
            if not isinstance(target.get(name), dict):
                target[name] = {}
            _merge(target[name], value)
        else:
            target[name] = copy.deepcopy(value)
