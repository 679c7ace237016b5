"""Reads and writes of the Kubernetes API, counted. Errors come out as two kinds: start over, or try later."""

import json
from typing import Any

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio.dynamic.client import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError
from kubernetes.aio.dynamic.resource import Resource

from wardrobe.api import adapter, adapterdeployment, basemodel, finetunejob
from wardrobe.api.meta import GROUP, VERSION, Key, Manifest
from wardrobe.metrics import Metrics
from wardrobe.plan.plan import Annotate, Apply, Create, Delete, Replace, Write

FIELD_MANAGER = "wardrobe"
REQUEST_SECONDS = 30
PAGE = 500
MERGE_PATCH = "application/merge-patch+json"


class ConflictError(Exception):
    """Somebody else wrote first (409, or the object is gone): observe again, then decide again."""


class RefusedError(Exception):
    """The API refuses this object as it is (invalid, forbidden by policy or quota): a person has to read why."""


class UnavailableError(Exception):
    """The API did not do what it was asked, and says why: try again later."""


class Kube:
    """The few requests that reconciling needs, on one connection pool. Objects are plain JSON."""

    def __init__(self, connection: kubernetes_client.ApiClient, metrics: Metrics) -> None:
        self._client = DynamicClient(connection)
        self._metrics = metrics
        self._resources = {
            kind: self._resource(kind, group, version, plural)
            for kind, group, version, plural in (
                (basemodel.KIND, GROUP, VERSION, basemodel.PLURAL),
                (finetunejob.KIND, GROUP, VERSION, finetunejob.PLURAL),
                (adapter.KIND, GROUP, VERSION, adapter.PLURAL),
                (adapterdeployment.KIND, GROUP, VERSION, adapterdeployment.PLURAL),
                ("Job", "batch", "v1", "jobs"),
                ("Pod", "", "v1", "pods"),
                ("ConfigMap", "", "v1", "configmaps"),
                ("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims"),
                ("Event", "", "v1", "events"),
                ("Service", "", "v1", "services"),
                ("ServiceAccount", "", "v1", "serviceaccounts"),
                ("Deployment", "apps", "v1", "deployments"),
                ("ControllerRevision", "apps", "v1", "controllerrevisions"),
                ("Role", "rbac.authorization.k8s.io", "v1", "roles"),
                ("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
            )
        }

    async def get(self, key: Key) -> Manifest | None:
        """The object, or None where there is none."""
        try:
            return await self._request("get", self._path(key))
        except DynamicApiError as error:
            if error.status == 404:
                return None
            raise UnavailableError(f"GET {key}: {_said(error)}") from error

    async def list(self, kind: str, namespace: str, selector: str = "") -> list[Manifest]:
        """All objects of a kind in a namespace, by label selector."""
        found: list[Manifest] = []
        more: str | None = None
        while True:
            try:
                page = await self._request(
                    "get",
                    self._resources[kind].path(namespace=namespace),
                    label_selector=selector or None,
                    limit=PAGE,
                    _continue=more,
                )
            except DynamicApiError as error:
                raise UnavailableError(f"LIST {kind} in {namespace}: {_said(error)}") from error
            found += page["items"]
            more = page["metadata"].get("continue")
            if not more:
                return [{"apiVersion": page["apiVersion"], "kind": kind, **item} for item in found]

    async def write(self, write: Write) -> None:
        """Carry out one write of a plan.

        Raises ConflictError where what it was decided upon no longer holds, and RefusedError where the API does not
        want the object.
        """
        try:
            await self._write(write)
        except DynamicApiError as error:
            if isinstance(write, Delete) and error.status in {404, 409}:
                return
            raise _REACTIONS.get(error.status, UnavailableError)(f"{_name(write)}: {_said(error)}") from error

    async def patch_status(self, key: Key, patch: Manifest, resource_version: str | None = None) -> None:
        """Merge-patch the status; with a resourceVersion only if nobody wrote since it was read."""
        body: Manifest = {"status": patch}
        if resource_version is not None:
            body["metadata"] = {"resourceVersion": resource_version}
        try:
            await self._request("patch", f"{self._path(key)}/status", body=body, content_type=MERGE_PATCH)
        except DynamicApiError as error:
            message = f"status of {key}: {_said(error)}"
            raise (ConflictError if error.status in {404, 409} else UnavailableError)(message) from error

    async def post_event(self, event: Manifest) -> None:
        """Create an Event; one of the same name says the same and is enough."""
        path = self._resources["Event"].path(namespace=event["metadata"]["namespace"])
        try:
            await self._request("post", path, body=event)
        except DynamicApiError as error:
            if error.status != 409:
                raise UnavailableError(f"event: {_said(error)}") from error

    async def _write(self, write: Write) -> None:
        match write:
            case Apply(manifest, force):
                await self._request(
                    "patch",
                    self._path(_key(manifest)),
                    body=manifest,
                    content_type="application/apply-patch+yaml",
                    field_manager=FIELD_MANAGER,
                    force_conflicts=force,
                )
            case Create(manifest):
                key = _key(manifest)
                path = self._resources[key.kind].path(namespace=key.namespace)
                await self._request("post", path, body=manifest, field_manager=FIELD_MANAGER)
            case Replace(manifest):
                await self._request("put", self._path(_key(manifest)), body=manifest, field_manager=FIELD_MANAGER)
            case Annotate(key, annotations):
                body = {"metadata": {"annotations": annotations}}
                await self._request("patch", self._path(key), body=body, content_type=MERGE_PATCH)
            case Delete(key, uid):
                options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
                await self._request("delete", self._path(key), body=options)

    async def _request(self, verb: str, path: str, **arguments: Any) -> Manifest:
        code = "0"
        try:
            answer: Manifest = await self._client.request(
                verb, path, serializer=_raw, _request_timeout=REQUEST_SECONDS, **arguments
            )
            code = "200"
        except DynamicApiError as error:
            code = str(error.status)
            raise
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"{verb} {path}: {type(error).__name__} {error}") from error
        finally:
            self._metrics.api_requests.labels(verb, code).inc()
        return answer

    def _path(self, key: Key) -> str:
        path: str = self._resources[key.kind].path(name=key.name, namespace=key.namespace)
        return path

    def _resource(self, kind: str, group: str, version: str, plural: str) -> Resource:
        """Named here instead of discovered: discovery would cache another cluster's answer in a file under /tmp."""
        return Resource(
            prefix="apis" if group else "api",
            group=group,
            api_version=version,
            kind=kind,
            namespaced=True,
            verbs=[],
            name=plural,
            client=self._client,
        )


_REACTIONS: dict[int, type[Exception]] = {
    400: RefusedError,
    403: RefusedError,
    404: ConflictError,
    409: ConflictError,
    422: RefusedError,
}


def _raw(_: object, answer: Manifest) -> Manifest:
    return answer


def _key(manifest: Manifest) -> Key:
    return Key(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])


def _name(write: Write) -> str:
    key = write.key if isinstance(write, Annotate | Delete) else _key(write.manifest)
    return f"{key.kind} {key.namespace}/{key.name}"


def _said(error: DynamicApiError) -> str:
    """The apiserver's own words."""
    try:
        message: str = json.loads(error.body or "")["message"]
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"
    return f"{error.status} {message}"
