"""The kubelet's part in a load test: a process that watches all pods, and ends each with its task's success at once.

usage: python benchmarks/pods_that_end.py KUBECONFIG

Pods of Wardrobe end with the result that their task would report, plain ones with exit code 0. It keeps no pod and
asks nothing again: what it costs is two writes per pod, so that it is never what the operator waits for.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))  # what tests share reads the documented reasons

import aiohttp
from kubernetes.aio import client, config
from support import results

from wardrobe.api import children

Pod = dict[str, Any]
STATUS_PATCH = "application/merge-patch+json"
AT_ONCE = 32
"""Writes in flight."""


async def main(kubeconfig: str) -> None:
    """Serve until killed."""
    configuration = client.Configuration()
    await config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    async with client.ApiClient(configuration) as connection:
        session = connection.rest_client.pool_manager or connection.rest_client._create_pool_manager()
        async with session:
            await Kubelet(session, configuration.host).serve()


class Kubelet:
    """Starts what is pending and ends what runs."""

    def __init__(self, session: aiohttp.ClientSession, host: str) -> None:
        self._session = session
        self._host = host
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._writes: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Watch; a watch that ends is begun again."""
        while True:
            query = {"watch": "true", "timeoutSeconds": "3000"}
            async with self._session.get(f"{self._host}/api/v1/pods", params=query, timeout=None) as stream:
                async for line in stream.content:
                    self._event(json.loads(line))

    def _event(self, event: dict[str, Any]) -> None:
        status = next_status(event["object"]) if event["type"] in {"ADDED", "MODIFIED"} else None
        if status is not None:
            task = asyncio.create_task(self._patch(event["object"], status))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    async def _patch(self, pod: Pod, status: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        url = f"{self._host}/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        body = json.dumps({"status": status})
        async with self._slots, self._session.patch(url, data=body, headers={"Content-Type": STATUS_PATCH}) as answer:
            await answer.read()


def next_status(pod: Pod) -> dict[str, Any] | None:
    """What the kubelet writes next; nothing once the pod has ended."""
    name = pod["spec"]["containers"][0]["name"]
    phase = pod.get("status", {}).get("phase")
    if phase == "Pending":
        return {"phase": "Running", "podIP": "127.0.0.1", "containerStatuses": [container(name, {"running": {}})]}
    if phase == "Running":
        ended = {"exitCode": 0, "reason": "Completed", "message": message(pod)}
        return {"phase": "Succeeded", "containerStatuses": [container(name, {"terminated": ended})]}
    return None


def container(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """A container's status."""
    ready = "running" in state
    return {"name": name, "image": "none", "imageID": "", "restartCount": 0, "ready": ready, "state": state}


def message(pod: Pod) -> str:
    """The termination message; a plain Job's pod has none."""
    task = pod["metadata"].get("labels", {}).get(children.TASK_LABEL)
    return results.success(task).termination_message() if task else ""


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
