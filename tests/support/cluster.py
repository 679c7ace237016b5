"""A namespace to test in, and the few requests tests make, through the official client."""

import datetime
import functools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config

from wardrobe.api.meta import GROUP, VERSION, Manifest

from .waiting import HANG, eventually

Body = Any
"""JSON, where the client's annotations ask for one of its models; it sends both."""
PLURALS = {
    "BaseModel": "basemodels",
    "FineTuneJob": "finetunejobs",
    "Adapter": "adapters",
    "AdapterDeployment": "adapterdeployments",
}


@functools.cache
def connect(kubeconfig: Path) -> client.ApiClient:
    """A client for a kubeconfig, one for all tests: it cannot close its connections, and is never collected."""
    api: client.ApiClient = config.new_client_from_config(str(kubeconfig))
    return api


@dataclass(frozen=True)
class Namespace:
    """One namespace of a cluster. Kinds without a plural of ours are Jobs, pods and ConfigMaps."""

    api: client.ApiClient
    name: str

    def create(self) -> "Namespace":
        """Make it; pods that are not restricted are refused in it."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        body: Body = {"metadata": {"name": self.name, "labels": labels}}
        client.CoreV1Api(self.api).create_namespace(body)
        return self

    def claim(self, name: str) -> None:
        """An unbound claim, which is enough where no pod runs."""
        spec = {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "resources": {"requests": {"storage": "1Gi"}},
        }
        body: Body = {"metadata": {"name": name}, "spec": spec}
        client.CoreV1Api(self.api).create_namespaced_persistent_volume_claim(self.name, body)

    def apply(self, manifest: Manifest) -> Manifest:
        """Create one of our resources."""
        created = client.CustomObjectsApi(self.api).create_namespaced_custom_object(
            GROUP, VERSION, self.name, PLURALS[manifest["kind"]], manifest
        )
        return _json(created)

    def get(self, kind: str, name: str) -> Manifest | None:
        """One of our resources, if it is there."""
        try:
            found = client.CustomObjectsApi(self.api).get_namespaced_custom_object(
                GROUP, VERSION, self.name, PLURALS[kind], name
            )
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise
        return _json(found)

    def all(self, kind: str) -> list[Manifest]:
        """All of a kind of ours."""
        found = client.CustomObjectsApi(self.api).list_namespaced_custom_object(
            GROUP, VERSION, self.name, PLURALS[kind]
        )
        items: list[Manifest] = _json(found)["items"]
        return items

    def delete(self, kind: str, name: str) -> None:
        """Delete one of our resources, dependents in the background."""
        client.CustomObjectsApi(self.api).delete_namespaced_custom_object(
            GROUP, VERSION, self.name, PLURALS[kind], name
        )

    def change(self, kind: str, name: str, **spec: Any) -> None:
        """Merge into one of our resources' spec, as `kubectl patch --type merge` does."""
        client.CustomObjectsApi(self.api).patch_namespaced_custom_object(
            GROUP, VERSION, self.name, PLURALS[kind], name, {"spec": spec}, _content_type="application/merge-patch+json"
        )

    def wipe_status(self, kind: str, name: str) -> None:
        """Remove everything from a status."""
        patch = [{"op": "remove", "path": "/status"}]
        client.CustomObjectsApi(self.api).patch_namespaced_custom_object_status(
            GROUP, VERSION, self.name, PLURALS[kind], name, patch, _content_type="application/json-patch+json"
        )

    def jobs(self) -> list[Manifest]:
        """All Jobs."""
        return self._plain(client.BatchV1Api(self.api).list_namespaced_job(self.name))

    def pods(self) -> list[Manifest]:
        """All pods."""
        return self._plain(client.CoreV1Api(self.api).list_namespaced_pod(self.name))

    def config_map(self, name: str) -> dict[str, str]:
        """A ConfigMap's data."""
        return client.CoreV1Api(self.api).read_namespaced_config_map(name, self.name).data or {}

    def change_config_map(self, name: str, data: dict[str, str]) -> None:
        """Set some of its data."""
        client.CoreV1Api(self.api).patch_namespaced_config_map(name, self.name, {"data": data})

    def events(self) -> list[Manifest]:
        """All Events."""
        return self._plain(client.CoreV1Api(self.api).list_namespaced_event(self.name))

    def condition(self, kind: str, name: str, condition: str) -> Manifest:
        """A condition, or an empty one."""
        found = self.get(kind, name) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == condition), {})

    def await_condition(
        self, kind: str, name: str, condition: str, status: str, *, reason: str = "", within: float = HANG
    ) -> Manifest:
        """Wait until a condition has a status, and a reason where one is given."""

        def there() -> Manifest | None:
            found = self.condition(kind, name, condition)
            return found if found.get("status") == status and reason in {"", found.get("reason")} else None

        def what() -> str:
            return f"{condition}={status} {reason} of {kind} {name}; it is {self.get(kind, name)}"

        return eventually(there, within=within, what=what)

    def _plain(self, listed: Any) -> list[Manifest]:
        items: list[Manifest] = self.api.sanitize_for_serialization(listed)["items"]
        return items


def node_address(namespace: Namespace) -> str:
    """Where pods reach what listens on the node."""
    (node,) = namespace.api.sanitize_for_serialization(client.CoreV1Api(namespace.api).list_node())["items"]
    found: str = next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
    return found


def _json(found: object) -> Manifest:
    """What the client parsed and left as it is."""
    assert isinstance(found, dict)
    return found


def unique(prefix: str) -> str:
    """A name that no other test has."""
    return f"{prefix}-{time.monotonic_ns() % 10**10:x}"


def without_times(value: Any) -> Any:
    """A manifest's JSON without the fields that say when: for comparing two ends of the same story."""
    if isinstance(value, dict):
        skipped = {"lastTransitionTime", "updated", "resourceVersion", "managedFields", "creationTimestamp"}
        return {key: without_times(inner) for key, inner in value.items() if key not in skipped}
    if isinstance(value, list):
        return [without_times(inner) for inner in value]
    return value


def as_text(value: Any) -> str:
    """For comparing and printing."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


def seconds(timestamp: str) -> float:
    """A time as the API writes it, in seconds since the epoch."""
    return datetime.datetime.fromisoformat(timestamp).timestamp()
