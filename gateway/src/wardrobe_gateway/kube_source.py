"""Routes from a ConfigMap, addresses from EndpointSlices."""

from collections.abc import AsyncIterator
from typing import Any

from kubernetes.aio.dynamic.client import DynamicClient

from wardrobe_contracts.routes import AGENT_PORT, ROUTES_KEY

from .kube import one_config_map, slices_of, snapshots


class KubernetesSource:
    """The two watches of one deployment."""

    def __init__(self, kube: DynamicClient, namespace: str, config_map: str, service: str) -> None:
        self._kube = kube
        self._routes = one_config_map(namespace, config_map)
        self._slices = slices_of(namespace, service)

    async def routes(self) -> AsyncIterator[str | None]:
        """Contents of routes.json, None where the ConfigMap or the entry is missing."""
        async for found in snapshots(self._kube, self._routes):
            yield found[0].get("data", {}).get(ROUTES_KEY) if found else None

    async def addresses(self) -> AsyncIterator[frozenset[str]]:
        """Every address of the Service's slices."""
        async for found in snapshots(self._kube, self._slices):
            yield addresses_of(found)


def addresses_of(slices: list[dict[str, Any]]) -> frozenset[str]:
    """`host:port` of all endpoints, ready or not: the agents say themselves what they can answer.

    The port is the slice's only one, or the agent's where the slice has none or several.
    """
    return frozenset(
        _join(address, slice_)
        for slice_ in slices
        for endpoint in slice_.get("endpoints") or []
        for address in endpoint["addresses"]
    )


def _join(address: str, slice_: dict[str, Any]) -> str:
    ports = [port["port"] for port in slice_.get("ports") or [] if port.get("port")]
    host = f"[{address}]" if slice_.get("addressType") == "IPv6" else address
    return f"{host}:{ports[0] if len(ports) == 1 else AGENT_PORT}"
