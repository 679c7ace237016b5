"""Routes from a ConfigMap, addresses from EndpointSlices."""

from collections.abc import AsyncIterator
from typing import Any

from kubernetes.aio.dynamic.client import DynamicClient

from wardrobe_contracts.routes import AGENT_PORT, OPS_PORT, OPS_PORT_NAME, REQUESTS_PORT_NAME, in_config_map

from .kube import one_config_map, slices_of, snapshots
from .source import Address


class KubernetesSource:
    """The watches of one deployment."""

    def __init__(self, kube: DynamicClient, namespace: str, config_map: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._routes = one_config_map(namespace, config_map)

    async def routes(self) -> AsyncIterator[str | None]:
        """The routes as text, None where the ConfigMap or its entries are missing."""
        async for found in snapshots(self._kube, self._routes):
            yield in_config_map(found[0].get("data", {})) if found else None

    async def addresses(self, service: str) -> AsyncIterator[frozenset[Address]]:
        """Every address of the Service's slices."""
        async for found in snapshots(self._kube, slices_of(self._namespace, service)):
            yield addresses_of(found)


def addresses_of(slices: list[dict[str, Any]]) -> frozenset[Address]:
    """All endpoints, ready or not: the agents say themselves what they can answer.

    The ports are those that the slice names, or the agent's own where it does not.
    """
    return frozenset(
        _join(address, slice_)
        for slice_ in slices
        for endpoint in slice_.get("endpoints") or []
        for address in endpoint["addresses"]
    )


def _join(address: str, slice_: dict[str, Any]) -> Address:
    ports = {port.get("name"): port["port"] for port in slice_.get("ports") or [] if port.get("port")}
    host = f"[{address}]" if slice_.get("addressType") == "IPv6" else address
    requests, ops = ports.get(REQUESTS_PORT_NAME, AGENT_PORT), ports.get(OPS_PORT_NAME, OPS_PORT)
    return Address(f"{host}:{requests}", f"{host}:{ops}")
