"""The cluster in memory does with writes what an apiserver does: each story is told to both."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support import cluster, in_process, resources
from support.cluster import Namespace
from support.fake_cluster import FakeCluster

from devcluster.controlplane import ControlPlane
from wardrobe.api.meta import Key, Manifest
from wardrobe.kube.client import ConflictError, Kube, RefusedError
from wardrobe.writes import Apply, Create, Delete, DropEntry, MarkInUse, Replace, Write

pytestmark = pytest.mark.controlplane


@pytest.fixture(scope="module")
def namespace(control_plane: ControlPlane) -> Namespace:
    return Namespace(cluster.connect(control_plane.kubeconfig), cluster.unique("fake")).create()


names = (f"story-v{number}" for number in itertools.count(1))


def config_map(name: str, data: dict[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class Teller:
    """Tells one cluster a story, and keeps what it looked like after each sentence."""

    def __init__(self, kube: Kube, namespace: str, name: str) -> None:
        self.kube, self.namespace, self.name = kube, namespace, name
        self.seen: list[Any] = []

    def key(self, kind: str) -> Key:
        return Key(kind, self.namespace, self.name)

    def placed(self, manifest: Manifest) -> Manifest:
        return {**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}}

    async def found(self, kind: str) -> Manifest:
        found = await self.kube.get(self.key(kind))
        assert found is not None
        return found

    async def write(self, write: Write, kind: str) -> None:
        """With the error, and whether the object is another one now."""
        before = await self.kube.get(self.key(kind)) or {"metadata": {}}
        error = None
        try:
            await self.kube.write(write)
        except (ConflictError, RefusedError) as raised:
            error = type(raised)
        after = await self.kube.get(self.key(kind)) or {"metadata": {}}
        versions = [found["metadata"].get("resourceVersion") for found in (before, after)]
        self.seen.append((type(write), error, versions[0] != versions[1], said(after)))


def said(found: Manifest) -> Manifest:
    """What the story is about, without what an apiserver fills in."""
    annotations = found["metadata"].get("annotations")
    return {"annotations": annotations, "data": found.get("data") or None, "status": found.get("status")}


async def entries_of_an_apply(teller: Teller) -> None:
    """What an apply leaves out goes where nobody else owns it; what others set is a conflict unless forced."""
    ours = teller.placed(config_map(teller.name, {"a": "1", "b": "1"}))
    await teller.write(Apply(ours), "ConfigMap")
    await teller.write(Apply(ours), "ConfigMap")
    theirs = {**await teller.found("ConfigMap")}
    theirs["data"] = {**theirs["data"], "b": "theirs", "c": "theirs"}
    await teller.write(Replace(theirs), "ConfigMap")
    await teller.write(Apply(ours, force=False), "ConfigMap")
    await teller.write(Apply({**ours, "data": {"a": "1"}}), "ConfigMap")
    await teller.write(Apply({**ours, "data": {"b": "2"}}), "ConfigMap")
    await teller.write(Apply({**ours, "data": {}}), "ConfigMap")


async def stale_and_taken(teller: Teller) -> None:
    """What exists is not created, what has changed is not replaced, and nobody else's uid is deleted."""
    made = teller.placed(config_map(teller.name, {"a": "1"}))
    await teller.write(DropEntry(teller.key("ConfigMap"), "a"), "ConfigMap")
    await teller.write(Create(made), "ConfigMap")
    await teller.write(Create(made), "ConfigMap")
    old = await teller.found("ConfigMap")
    await teller.write(DropEntry(teller.key("ConfigMap"), "a"), "ConfigMap")
    await teller.write(DropEntry(teller.key("ConfigMap"), "a"), "ConfigMap")
    await teller.write(Replace(old), "ConfigMap")
    await teller.write(Delete(teller.key("ConfigMap"), "11111111-2222-3333-4444-555555555555"), "ConfigMap")
    await teller.write(Delete(teller.key("ConfigMap"), old["metadata"]["uid"]), "ConfigMap")
    await teller.write(DropEntry(teller.key("ConfigMap"), "a"), "ConfigMap")


async def a_status_of_its_own(teller: Teller) -> None:
    """A write of the rest says nothing of the status, and a write of the status nothing of the generation."""
    invented = {**teller.placed(resources.adapter(teller.name)), "status": {"usedBy": ["invented"]}}
    await teller.write(Create(invented), "Adapter")
    for user in ("one", "two", "one"):
        await teller.write(MarkInUse(teller.key("Adapter"), user), "Adapter")
    await teller.kube.patch_status(teller.key("Adapter"), {"usedBy": ["two"]})
    await teller.write(MarkInUse(teller.key("Adapter"), "two"), "Adapter")
    await teller.write(MarkInUse(teller.key("Adapter"), "one"), "Adapter")
    teller.seen.append((await teller.found("Adapter"))["metadata"]["generation"])


async def a_generation_for_each_spec(teller: Teller) -> None:
    """And only for those."""
    key = teller.key("AdapterDeployment")
    writes: list[Write] = [
        Apply(teller.placed(resources.deployment(teller.name, {"replicas": count}, cardiology="cardiology-v1")))
        for count in (1, 1, 2)
    ]
    annotated = teller.placed(resources.deployment(teller.name, {"replicas": 2}, cardiology="cardiology-v1"))
    annotated["metadata"]["annotations"] = {"x": "y"}
    for write in [*writes, Apply(annotated)]:
        await teller.kube.write(write)
        teller.seen.append((await teller.found(key.kind))["metadata"]["generation"])


@pytest.mark.parametrize(
    "story", [entries_of_an_apply, stale_and_taken, a_status_of_its_own, a_generation_for_each_spec]
)
def test_both_end_alike(
    control_plane: ControlPlane, namespace: Namespace, story: Callable[[Teller], Awaitable[None]]
) -> None:
    name = next(names)
    remembered = Teller(FakeCluster(), namespace.name, name)

    async def tell() -> list[Any]:
        async with in_process.connection(control_plane.kubeconfig) as connection:
            real = Teller(in_process.CountingKube(connection), namespace.name, name)
            await story(real)
            await story(remembered)
            return real.seen

    real = asyncio.run(tell())
    assert real
    assert remembered.seen == real
