"""A cluster in memory, for stories that need thousands of orders of events.

It keeps what decisions rely on: resourceVersions that change with every write, 409 on stale ones and on names that
exist, merge patches, uid preconditions, and garbage collection in the background. It can die after any write.
"""

import copy
import itertools
from typing import Any

from wardrobe.api import children
from wardrobe.api.meta import Key, Manifest
from wardrobe.kube.client import ConflictError
from wardrobe.plan.plan import Annotate, Apply, Create, Delete, Replace, Write
from wardrobe_contracts.result import Result

from .documented import require_documented


class KilledError(BaseException):
    """The operator process is gone; nothing in it runs any more."""


class FakeCluster:
    """Objects by key; implements what `wardrobe.kube.client.Kube` offers to reconciling."""

    def __init__(self) -> None:
        self.objects: dict[Key, Manifest] = {}
        self.writes_left: int | None = None
        """Writes until the operator is killed; None for ever."""
        self.writes = 0
        self.events: list[Manifest] = []
        self._counter = itertools.count(1)

    async def get(self, key: Key) -> Manifest | None:
        return copy.deepcopy(self.objects.get(key))

    async def list(self, kind: str, namespace: str, selector: str = "") -> "list[Manifest]":
        wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
        return [
            copy.deepcopy(found)
            for key, found in sorted(self.objects.items())
            if (key.kind, key.namespace) == (kind, namespace) and wanted.items() <= _labels(found).items()
        ]

    async def write(self, write: Write) -> None:
        match write:
            case Apply(manifest) | Create(manifest):
                if isinstance(write, Create) and _key(manifest) in self.objects:
                    raise ConflictError("exists")
                self.put(manifest)
            case Replace(manifest):
                self._expect(_key(manifest), manifest["metadata"].get("resourceVersion"))
                self.put(manifest)
            case Annotate(key, annotations):
                self._expect(key, None)
                self.objects[key]["metadata"].setdefault("annotations", {}).update(annotations)
                self._touch(key)
            case Delete(key, uid):
                if key in self.objects and self.objects[key]["metadata"]["uid"] == uid:
                    self.delete(key)
        self._count()

    async def patch_status(self, key: Key, patch: Manifest, resource_version: str | None = None) -> None:
        require_documented(key.kind, patch)
        self._expect(key, resource_version)
        _merge(self.objects[key].setdefault("status", {}), patch)
        self._touch(key)
        self._count()

    async def post_event(self, event: Manifest) -> None:
        self.events.append(event)
        self._count()

    def put(self, manifest: Manifest) -> Manifest:
        """Create or replace, as a user or a controller would."""
        key = _key(manifest)
        before = self.objects.get(key, {})
        stored = copy.deepcopy(manifest)
        metadata = stored["metadata"]
        metadata.setdefault("generation", 1)
        metadata["uid"] = before.get("metadata", {}).get("uid") or f"{next(self._counter):08d}-uid"
        self.objects[key] = stored
        self._touch(key)
        return stored

    def delete(self, key: Key) -> None:
        """Delete with dependents, as the garbage collector would in the end."""
        gone = self.objects.pop(key, None)
        if gone is None:
            return
        uid = gone["metadata"]["uid"]
        for other, found in list(self.objects.items()):
            if any(ref["uid"] == uid for ref in found["metadata"].get("ownerReferences", [])):
                self.delete(other)

    def start_pods(self) -> None:
        """The Job controller's part: one pod for each Job that has neither pod nor end."""
        for key, job in list(self.objects.items()):
            started = job.get("status", {}).get("started")
            if key.kind == "Job" and not started:
                job.setdefault("status", {})["started"] = True
                self.put(_pod(job))

    def end_pod(self, key: Key, result: Result | None) -> None:
        """The kubelet's part: the container ends with a message; without a result the message is lost."""
        terminated: Manifest = {"exitCode": int(result.exit_code) if result else 70}
        if result:
            terminated["message"] = result.termination_message()
        container = {"name": children.CONTAINER, "state": {"terminated": terminated}}
        self.objects[key]["status"] = {"phase": "Succeeded", "containerStatuses": [container]}
        job_uid = self.objects[key]["metadata"]["ownerReferences"][0]["uid"]
        for job in self.objects.values():
            if job["metadata"]["uid"] == job_uid:
                job["status"]["conditions"] = [_ending(result)]

    def pods(self, *, running: bool = True) -> "list[Key]":
        """Pods; only those that still run."""
        return sorted(
            key for key, pod in self.objects.items() if key.kind == "Pod" and not (running and "status" in pod)
        )

    def names(self, kind: str) -> "list[str]":
        """Names of all objects of a kind."""
        return sorted(key.name for key in self.objects if key.kind == kind)

    def _expect(self, key: Key, resource_version: str | None) -> None:
        found = self.objects.get(key)
        if found is None or resource_version not in {None, found["metadata"]["resourceVersion"]}:
            raise ConflictError(f"{key} has changed")

    def _touch(self, key: Key) -> None:
        self.objects[key]["metadata"]["resourceVersion"] = str(next(self._counter))

    def _count(self) -> None:
        self.writes += 1
        if self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left <= 0:
                raise KilledError


def _pod(job: Manifest) -> Manifest:
    owner = {"uid": job["metadata"]["uid"], "kind": "Job", "name": job["metadata"]["name"]}
    metadata = {
        "name": f"{job['metadata']['name']}-0",
        "namespace": job["metadata"]["namespace"],
        "labels": job["metadata"]["labels"],
        "ownerReferences": [owner],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": job["spec"]["template"]["spec"]}


def _ending(result: Result | None) -> Manifest:
    if result and result.succeeded:
        return {"type": "Complete", "status": "True"}
    code = int(result.exit_code) if result else 70
    message = f"Container trainer for pod a/b failed with exit code {code} matching FailJob rule at index 0"
    return {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": message}


def _labels(manifest: Manifest) -> dict[str, str]:
    labels: dict[str, str] = manifest["metadata"].get("labels", {})
    return labels


def _key(manifest: Manifest) -> Key:
    return Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value)
        else:
            target[name] = copy.deepcopy(value)
