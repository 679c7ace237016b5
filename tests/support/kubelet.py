"""A kubelet's part in tests that have only a control plane: it starts pods and ends them with a termination message.

What it writes is what the real one writes for a pod of one container; the scheduler and the containers are left out.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import urllib3
from kubernetes import client

from wardrobe.api import children
from wardrobe_contracts.base import Task
from wardrobe_contracts.result import Result

from . import results

POLL_SECONDS = 0.05

Answer = Callable[[Task, dict[str, Any]], Result | None]
"""From a task and its pod's manifest to how the task ends; None keeps the pod running."""


def succeed(task: Task, _: dict[str, Any]) -> Result:
    """Every task succeeds."""
    return results.success(task)


class Kubelet(threading.Thread):
    """Runs until `stop`. `answer` may be replaced at any time. `started` has the task of each pod once, in order.

    A status that did not reach the apiserver is written again; the pod it belongs to was started all the same. A pod
    that is deleted goes at once, as one without a node does; with `last_words` it has one, ends with these, and goes
    once `lets_go` is set.
    """

    def __init__(self, api: client.ApiClient, namespace: str, answer: Answer = succeed) -> None:
        super().__init__(name="kubelet", daemon=True)
        self.answer = answer
        self.started: list[Task] = []
        self.last_words: Answer | None = None
        self.lets_go = threading.Event()
        self._uids: set[str] = set()
        self._api = api
        self._pods = client.CoreV1Api(api)
        self._namespace = namespace
        self._ended = threading.Event()

    def run(self) -> None:
        """Serve the namespace's pods."""
        while not self._ended.wait(POLL_SECONDS):
            # The apiserver may be away, a pod deleted meanwhile.
            with contextlib.suppress(client.ApiException, urllib3.exceptions.HTTPError):
                self._serve()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self.join()

    def _serve(self) -> None:
        selector = f"{children.MANAGED_BY_LABEL}={children.MANAGED_BY}"
        for pod in self._pods.list_namespaced_pod(self._namespace, label_selector=selector).items:
            manifest = self._api.sanitize_for_serialization(pod)
            phase = manifest.get("status", {}).get("phase", "Pending")
            if manifest["metadata"].get("deletionTimestamp"):
                self._leave(manifest, running=phase == "Running")
            elif phase == "Pending":
                self._start(manifest)
            elif phase == "Running":
                self._end(manifest)

    def _start(self, pod: dict[str, Any]) -> None:
        if pod["metadata"]["uid"] not in self._uids:
            self._uids.add(pod["metadata"]["uid"])
            self.started.append(pod["metadata"]["labels"][children.TASK_LABEL])
        if self.last_words and "nodeName" not in pod["spec"]:
            self._bind(pod)
        running = {"name": children.CONTAINER, "ready": True, "state": {"running": {}}, **_CONTAINER}
        self._patch(pod, {"phase": "Running", "podIP": "127.0.0.1", "containerStatuses": [running]})

    def _end(self, pod: dict[str, Any]) -> None:
        if result := self.answer(pod["metadata"]["labels"][children.TASK_LABEL], pod):
            self._say(pod, result)

    def _leave(self, pod: dict[str, Any], *, running: bool) -> None:
        if running and self.last_words:
            if result := self.last_words(pod["metadata"]["labels"][children.TASK_LABEL], pod):
                self._say(pod, result)
        elif self.lets_go.is_set():
            metadata = pod["metadata"]
            self._pods.delete_namespaced_pod(metadata["name"], metadata["namespace"], grace_period_seconds=0)

    def _bind(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        body: Any = {"metadata": {"name": metadata["name"]}, "target": {"kind": "Node", "name": "imitated"}}
        # what it answers is no Binding, which the client would make of it
        self._pods.create_namespaced_binding(metadata["namespace"], body, _preload_content=False)

    def _say(self, pod: dict[str, Any], result: Result) -> None:
        state = {
            "exitCode": int(result.exit_code),
            "reason": "Completed" if result.succeeded else "Error",
            "message": result.termination_message(),
        }
        ended = {"name": children.CONTAINER, "ready": False, "state": {"terminated": state}, **_CONTAINER}
        phase = "Succeeded" if result.succeeded else "Failed"
        self._patch(pod, {"phase": phase, "containerStatuses": [ended]})

    def _patch(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        self._pods.patch_namespaced_pod_status(metadata["name"], metadata["namespace"], {"status": status})


_CONTAINER = {"image": "none", "imageID": "", "restartCount": 0}


@contextlib.contextmanager
def serving(api: client.ApiClient, namespace: str, answer: Answer = succeed) -> Iterator[Kubelet]:
    """A kubelet for the namespace while the block runs."""
    kubelet = Kubelet(api, namespace, answer)
    kubelet.start()
    try:
        yield kubelet
    finally:
        kubelet.stop()
