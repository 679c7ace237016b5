"""Reads and writes of the Kubernetes API, counted. Errors come out as two kinds: start over, or try later.

The official client connects, authenticates and sends. Its DynamicClient is left out: walking through every body, and
reading every answer, also those of writes that nobody looks at, cost as much again as the request.
"""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp
import pydantic_core
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from kubernetes.aio import client as kubernetes_client

from wardrobe.api.kinds import KINDS
from wardrobe.api.meta import API_VERSION, GROUP, VERSION, Key, Manifest
from wardrobe.metrics import Metrics
from wardrobe.writes import FIELD_MANAGER, Apply, Create, Delete, DropEntry, MarkInUse, Replace, Write

from .clock import ApiClock

REQUEST_SECONDS = 30
PAGE = 500
WATCHED_PAGE = 100
"""Objects of one page where a watch begins, all kinds at the same time: about 80 kB each as Python holds them."""
WATCH_SECONDS = 300
"""After which the apiserver ends a watch."""
SILENT_SECONDS = 70.0
"""A watch that says nothing for so long is begun anew where it was: bookmarks come every minute while its connection
lives, and a machine that lost its power closes none. kopf waits as long for its own."""
WATCHING = {"watch": "true", "allowWatchBookmarks": "true"}
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
BROKEN = (TimeoutError, aiohttp.ClientError, HttpProcessingError, OSError)
"""What a connection may end with."""
AUTHENTICATION = ["BearerToken"]
QUERY = {
    "label_selector": "labelSelector",
    "field_selector": "fieldSelector",
    "limit": "limit",
    "_continue": "continue",
    "field_manager": "fieldManager",
    "force_conflicts": "force",
}
"""Parameters of a request, as the API calls them."""

log = logging.getLogger(__name__)


class ApiError(Exception):
    """The apiserver's refusal."""

    def __init__(self, status: int, reason: str, body: bytes) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.body = body


class ConflictError(Exception):
    """Somebody else wrote first (409, or the object is gone): observe again, then decide again."""


class RefusedError(Exception):
    """The API refuses this object as it is (invalid, forbidden by policy or quota): a person has to read why."""


class UnavailableError(Exception):
    """The API did not do what it was asked, and says why: try again later."""


class ExpiredError(Exception):
    """The API no longer knows what came after a resourceVersion: list again."""


@dataclass(frozen=True)
class Resource:
    """Where objects of a kind are. Named instead of discovered: each of them is known."""

    group: str
    api_version: str
    plural: str

    def path(self, *, namespace: str, name: str = "") -> str:
        """Of one object, or of all in a namespace, or in all of them."""
        prefix = f"/apis/{self.group}/{self.api_version}" if self.group else f"/api/{self.api_version}"
        path = f"{prefix}/namespaces/{namespace}/{self.plural}" if namespace else f"{prefix}/{self.plural}"
        return f"{path}/{name}" if name else path


class Kube(Protocol):
    """What reconciling asks of the API. Objects are plain JSON. What may be raised: see `KubeClient`."""

    async def get(self, key: Key) -> Manifest | None:
        """Read one object."""

    async def list(self, kind: str, namespace: str, selector: str = "", *, fields: str = "") -> list[Manifest]:
        """Read all of a kind that match."""

    async def write(self, write: Write) -> None:
        """Carry out one write of a plan."""

    async def patch_status(self, key: Key, patch: Manifest, resource_version: str | None = None) -> None:
        """Merge-patch the status."""

    async def post_event(self, event: Manifest) -> None:
        """Create an Event."""


class KubeClient:
    """A `Kube` over HTTP, on one connection pool; and the watches."""

    def __init__(
        self, connection: kubernetes_client.ApiClient, metrics: Metrics, silent_seconds: float = SILENT_SECONDS
    ) -> None:
        self.clock = ApiClock()
        self._silent_seconds = silent_seconds
        self._connection = connection
        self._metrics = metrics
        self._resources = {
            kind: Resource(group, version, plural)
            for kind, group, version, plural in (
                *((kind.name, GROUP, VERSION, kind.plural) for kind in KINDS.values()),
                ("Job", "batch", "v1", "jobs"),
                ("Pod", "", "v1", "pods"),
                ("ConfigMap", "", "v1", "configmaps"),
                ("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims"),
                ("Event", "", "v1", "events"),
                ("Service", "", "v1", "services"),
                ("ServiceAccount", "", "v1", "serviceaccounts"),
                ("Deployment", "apps", "v1", "deployments"),
                ("ReplicaSet", "apps", "v1", "replicasets"),
                ("ControllerRevision", "apps", "v1", "controllerrevisions"),
                ("Role", "rbac.authorization.k8s.io", "v1", "roles"),
                ("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings"),
                ("Workload", "kueue.x-k8s.io", "v1beta2", "workloads"),
            )
        }

    async def get(self, key: Key) -> Manifest | None:
        """The object, or None where there is none."""
        try:
            return await self._request("get", self._path(key))
        except ApiError as error:
            if error.status == 404:
                return None
            raise UnavailableError(f"GET {key}: {_said(error)}") from error

    async def list(self, kind: str, namespace: str, selector: str = "", *, fields: str = "") -> list[Manifest]:
        """All objects of a kind in a namespace (in all, if it is empty), by label and field selector."""
        pages = [page async for page in self.pages(kind, namespace, selector, PAGE, fields)]
        return [{"apiVersion": page["apiVersion"], "kind": kind, **item} for page in pages for item in page["items"]]

    async def pages(
        self, kind: str, namespace: str, selector: str, limit: int = WATCHED_PAGE, fields: str = ""
    ) -> AsyncIterator[Manifest]:
        """The same by pages, as the API gives them."""
        more: str | None = None
        while True:
            try:
                page = await self._request(
                    "get",
                    self._resources[kind].path(namespace=namespace),
                    label_selector=selector or None,
                    field_selector=fields or None,
                    limit=limit,
                    _continue=more,
                )
            except ApiError as error:
                raise UnavailableError(f"LIST {kind} in {namespace}: {_said(error)}") from error
            yield page
            more = page["metadata"].get("continue")
            if not more:
                return

    async def events(self, kind: str, namespace: str, selector: str, since: str) -> AsyncIterator[Manifest]:
        """Watch events after a resourceVersion, until the watch ends.

        Raises ExpiredError where that is too old, or where an event is longer than what a line may have: a listing has
        no lines.
        """
        path = self._resources[kind].path(namespace=namespace)
        query = {"labelSelector": selector, "resourceVersion": since, "timeoutSeconds": WATCH_SECONDS, **WATCHING}
        bounds = aiohttp.ClientTimeout(total=WATCH_SECONDS + REQUEST_SECONDS, sock_read=self._silent_seconds)
        try:
            answer = await self._open("GET", f"{path}?{urlencode(query)}", None, JSON, bounds)
            async with answer.response as stream:
                if answer.status != 200:
                    raise _broken(answer.status, await answer.read())
                async for line in stream.content:
                    event = _parsed(line)
                    if event["type"] == "ERROR":
                        raise _broken(event["object"].get("code", 0), line)
                    yield event
        except LineTooLong as error:
            log.warning("watch of %s: an event is too long: %s", kind, error)
            raise ExpiredError from error
        except BROKEN as error:
            raise UnavailableError(f"WATCH {kind}: {type(error).__name__} {error}") from error

    async def write(self, write: Write) -> None:
        """Carry out one write of a plan.

        Raises ConflictError where what it was decided upon no longer holds, and RefusedError where the API does not
        want the object.
        """
        try:
            await self._write(write)
        except ApiError as error:
            if isinstance(write, Delete) and error.status in {404, 409}:
                return
            reaction = _REACTIONS.get(error.status, UnavailableError)
            if isinstance(write, Create) and write.if_refused:
                await self._take_back(write, write.if_refused, error.status)
                if reaction is ConflictError:  # another's: whose it is was just looked at
                    reaction = RefusedError
            raise reaction(f"{_name(write)}: {_said(error)}") from error

    async def _take_back(self, create: Create, entry: DropEntry, status: int) -> None:
        """Unless the object is there: a 500 may come from a webhook, or after it was stored.

        What fails here must not hide why the object was refused: the entry then costs what it stands for.
        """
        try:
            if status < 500 or await self.get(Key.of(create.manifest)) is None:
                await self.write(entry)
        except (ConflictError, RefusedError, UnavailableError) as error:
            log.warning("%s stays in %s: %s", entry.entry, entry.key, error)

    async def patch_status(self, key: Key, patch: Manifest, resource_version: str | None = None) -> None:
        """Merge-patch the status; with a resourceVersion only if nobody wrote since it was read."""
        body: Manifest = {"status": patch}
        if resource_version is not None:
            body["metadata"] = {"resourceVersion": resource_version}
        try:
            await self._request("patch", f"{self._path(key)}/status", body=body, content_type=MERGE_PATCH)
        except ApiError as error:
            message = f"status of {key}: {_said(error)}"
            raise (ConflictError if error.status in {404, 409} else UnavailableError)(message) from error

    async def post_event(self, event: Manifest) -> None:
        """Create an Event; one of the same name says the same and is enough."""
        path = self._resources["Event"].path(namespace=event["metadata"]["namespace"])
        try:
            await self._request("post", path, body=event)
        except ApiError as error:
            if error.status != 409:
                raise UnavailableError(f"event: {_said(error)}") from error

    async def _write(self, write: Write) -> None:
        match write:
            case Apply(manifest, force):
                await self._request(
                    "patch",
                    self._path(Key.of(manifest)),
                    body=manifest,
                    content_type=APPLY_PATCH,
                    field_manager=FIELD_MANAGER,
                    force_conflicts=force,
                )
            case Create(manifest):
                key = Key.of(manifest)
                path = self._resources[key.kind].path(namespace=key.namespace)
                await self._request("post", path, body=manifest, field_manager=FIELD_MANAGER)
            case Replace(manifest):
                await self._request("put", self._path(Key.of(manifest)), body=manifest, field_manager=FIELD_MANAGER)
            case DropEntry(key, entry):
                await self._request("patch", self._path(key), body={"data": {entry: None}}, content_type=MERGE_PATCH)
            case Delete(key, uid, foreground):
                policy = "Foreground" if foreground else "Background"
                options = {"preconditions": {"uid": uid}, "propagationPolicy": policy}
                await self._request("delete", self._path(key), body=options)
            case MarkInUse(key, user):
                await self._request(
                    "patch",
                    f"{self._path(key)}/status",
                    body={
                        "apiVersion": API_VERSION,
                        "kind": key.kind,
                        "metadata": {"name": key.name, "namespace": key.namespace},
                        "status": {"usedBy": [user]},
                    },
                    content_type=APPLY_PATCH,
                    field_manager=f"{FIELD_MANAGER}-{user}",
                    force_conflicts=True,
                )

    async def _request(
        self,
        verb: str,
        path: str,
        *,
        body: Manifest | None = None,
        content_type: str = "application/json",
        **query: Any,
    ) -> Manifest:
        """The answer to a GET; what the others answer is not read."""
        code = "0"
        try:
            answer = await self._send(verb.upper(), _with_query(path, query), body, content_type)
            code = "200"
        except ApiError as error:
            code = str(error.status)
            raise
        except BROKEN as error:
            raise UnavailableError(f"{verb} {path}: {type(error).__name__} {error}") from error
        finally:
            self._metrics.api_requests.labels(verb, code).inc()
        return _parsed(answer) if verb == "get" else {}

    async def _send(self, method: str, path: str, body: Manifest | None, content_type: str) -> bytes:
        answer = await self._open(method, path, body, content_type, aiohttp.ClientTimeout(total=REQUEST_SECONDS))
        received: bytes = await answer.read()
        self.clock.hear(answer.headers.get("Date"))
        if not 200 <= answer.status < 300:
            raise ApiError(answer.status, answer.reason, received)
        return received

    async def _open(
        self, method: str, path: str, body: Manifest | None, content_type: str, bounds: aiohttp.ClientTimeout
    ) -> kubernetes_client.rest.RESTResponse:
        headers = {"Accept": JSON, "Content-Type": content_type}
        await self._connection.update_params_for_auth(headers, [], AUTHENTICATION, path, method, body)
        url = f"{self._connection.configuration.host}{path}"
        return await self._connection.call_api(method, url, headers, body, _request_timeout=bounds)

    def _path(self, key: Key) -> str:
        return self._resources[key.kind].path(name=key.name, namespace=key.namespace)


_REACTIONS: dict[int, type[Exception]] = {
    400: RefusedError,
    403: RefusedError,
    404: ConflictError,
    409: ConflictError,
    422: RefusedError,
}


def _with_query(path: str, query: dict[str, Any]) -> str:
    given = {QUERY[name]: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _broken(code: int, body: bytes) -> Exception:
    """Why a watch did not go on."""
    return ExpiredError() if code == 410 else UnavailableError(f"watch: {code} {body[:500]!r}")


def _parsed(answer: bytes) -> Manifest:
    """Raises UnavailableError where it is no JSON: a proxy's page, or an answer that was cut."""
    try:
        found: Manifest = pydantic_core.from_json(answer)
    except ValueError as error:
        raise UnavailableError(f"the answer is no JSON: {error}") from error
    return found


def _name(write: Write) -> str:
    key = write.key if isinstance(write, Delete | DropEntry | MarkInUse) else Key.of(write.manifest)
    return f"{key.kind} {key.namespace}/{key.name}"


def _said(error: ApiError) -> str:
    """The apiserver's own words."""
    try:
        message: str = json.loads(error.body or "")["message"]
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"
    return f"{error.status} {message}"
