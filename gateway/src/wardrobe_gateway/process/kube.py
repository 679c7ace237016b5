"""The only code that talks to the Kubernetes API: two watches. Nothing is ever written."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic.client import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from .source import LostError

Manifest = dict[str, Any]

LIST_SECONDS = 10
WATCH_SECONDS = 60
"""The apiserver ends a watch after this. A connection that died without a word is noticed soon after, too."""
SILENCE = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=WATCH_SECONDS + 5)
SERVICE_LABEL = "kubernetes.io/service-name"


@asynccontextmanager
async def connect() -> AsyncIterator[DynamicClient]:
    """A client with the pod's service account, or the kubeconfig outside a cluster. Tokens are re-read."""
    configuration = client.Configuration()
    await config.load_config(client_configuration=configuration)
    async with client.ApiClient(configuration) as connection:
        yield DynamicClient(connection)


@dataclass(frozen=True)
class Selection:
    """What is watched: objects of one resource, by field or label."""

    path: str
    selector: dict[str, str]


def one_config_map(namespace: str, name: str) -> Selection:
    """A ConfigMap by name. A Role with this resourceName allows list and watch because of the fieldSelector."""
    return Selection(f"/api/v1/namespaces/{namespace}/configmaps", {"field_selector": f"metadata.name={name}"})


def slices_of(namespace: str, service: str) -> Selection:
    """The EndpointSlices of a Service."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    return Selection(path, {"label_selector": f"{SERVICE_LABEL}={service}"})


async def snapshots(kube: DynamicClient, selection: Selection) -> AsyncIterator[list[Manifest]]:
    """All selected objects, at once and after each change.

    The list is a quorum read and the watch goes on from it, so that what comes never goes back in time.
    Raises LostError when the API is away or says no.
    """
    try:
        listed = await _read(kube, selection)
        objects = {item["metadata"]["name"]: item for item in listed["items"]}
        resource_version: str = listed["metadata"]["resourceVersion"]
        yield list(objects.values())
        while True:
            async for event in _events(kube, selection, resource_version):
                resource_version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    _change(objects, event)
                    yield list(objects.values())
    except (DynamicApiError, ApiException) as error:
        raise LostError(f"{selection.path}: {error.status} {error.reason}") from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
        raise LostError(f"{selection.path}: {type(error).__name__} {error}") from error


def _change(objects: dict[str, Manifest], event: Manifest) -> None:
    name = event["object"]["metadata"]["name"]
    if event["type"] == "DELETED":
        objects.pop(name, None)
    else:
        objects[name] = event["object"]


async def _read(kube: DynamicClient, selection: Selection) -> Manifest:
    answer: Manifest = await kube.request(
        "get", selection.path, serializer=_raw, _request_timeout=LIST_SECONDS, **selection.selector
    )
    return answer


async def _events(kube: DynamicClient, selection: Selection, resource_version: str) -> AsyncIterator[Manifest]:
    """Events of one watch request, until the apiserver ends it. Raises LostError on an error event."""
    response: aiohttp.ClientResponse = await kube.request(
        "get",
        selection.path,
        serialize=False,
        watch="true",
        resource_version=resource_version,
        timeout_seconds=WATCH_SECONDS,
        _request_timeout=SILENCE,
        **selection.selector,
    )
    async with response:
        async for line in response.content:
            event: Manifest = json.loads(line)
            if event["type"] == "ERROR":
                raise LostError(f"{selection.path}: {event['object'].get('message')}")
            yield event


def _raw(_: object, answer: Manifest) -> Manifest:
    return answer
