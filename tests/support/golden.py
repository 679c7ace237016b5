"""What becomes of one resource: all objects that the operator makes for it in a life in which nothing goes wrong.

`make golden` writes tests/golden/, one file for each resource below.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import yaml

from wardrobe.api import children
from wardrobe.api.meta import Key, Manifest
from wardrobe_contracts.base import Variant

from . import resources, results
from .fake_cluster import FakeCluster
from .serving import Fleet

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/golden"
NAMESPACE = "hospital"
BY_THE_APISERVER = {"uid", "resourceVersion", "generation", "creationTimestamp"}
NOT_OURS = {"Pod", "ReplicaSet"}
MOST_ROUNDS = 30


def example(name: str) -> Manifest:
    """As users would write one."""
    found: Manifest = yaml.safe_load((ROOT / f"examples/{name}.yaml").read_text())
    return found


RESOURCES = {
    "basemodel": resources.base_model(),
    "basemodel-all-fields": example("basemodel-all-fields"),
    "finetunejob": resources.run("heart"),
    "finetunejob-all-fields": example("finetunejob-all-fields"),
    "finetunejob-full": example("finetunejob-full"),
    "finetunejob-import": example("finetunejob-import"),
    "adapter-by-hand": resources.by_hand(resources.adapter("cardiology-v3")),
    "adapterdeployment": resources.deployment(cardiology="cardiology-v1"),
    "adapterdeployment-tgi": resources.deployment(
        spec={"engine": {"type": "TGI", "gpus": 2}}, cardiology="cardiology-v1"
    ),
    "adapterdeployment-vllm": resources.deployment(
        spec={"quantization": "None", "engine": {"type": "VLLM", "gpus": 2, "maxConcurrentRequests": 16}},
        cardiology="cardiology-v1",
    ),
    "adapterdeployment-all-fields": example("adapterdeployment-all-fields"),
}


class Readable(yaml.SafeDumper):
    """Texts of several lines line by line, so that a difference shows which."""

    def text(self, value: str) -> yaml.Node:
        """A string's node."""
        return self.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Readable.add_representer(str, Readable.text)


def children_of(resource: Manifest) -> str:
    """The objects as YAML, in the order of their kinds and names."""
    cluster, key = FakeCluster(), Key(resource["kind"], NAMESPACE, resource["metadata"]["name"])
    cluster.put(resource, NAMESPACE)  # first, so that its uid is always the same
    for found in surroundings(resource):
        cluster.put(found, NAMESPACE)
    given = set(cluster.objects)
    live(cluster, key)
    made = sorted(key for key in cluster.objects.keys() - given if key.kind not in NOT_OURS)
    return yaml.dump_all((written(cluster.objects[key]) for key in made), Dumper=Readable, width=10_000)


def surroundings(resource: Manifest) -> Iterator[Manifest]:
    """What it names, and what that needs."""
    yield from map(resources.claim, ("wardrobe-store", "models", "datasets"))
    spec = resource["spec"]
    if "dataset" in spec:
        yield {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "renal-examples"},
            "data": {"train.jsonl": ""},
            "binaryData": {"passages.parquet": ""},
        }
    if "baseModel" in spec:
        yield {**resources.base_model(spec["baseModel"]["name"]), "status": resources.ready_base()}
    for department in spec.get("departments", {}).values():
        found = resources.adapter(department["adapter"], variants=[variant.value for variant in Variant])
        found["spec"]["baseModel"]["name"] = spec["baseModel"]["name"]
        yield found


def live(cluster: FakeCluster, key: Key) -> None:
    """Until nothing happens any more."""
    fleet = Fleet(lambda: cluster.routes(key.namespace, key.name))
    for _ in range(MOST_ROUNDS):
        before = cluster.contents()
        asyncio.run(cluster.reconciler(fleet).reconcile(key))
        cluster.start_pods()
        cluster.start_replicas()
        end_tasks(cluster)
        if cluster.contents() == before:
            return
    raise AssertionError(f"{key} never settles")


def end_tasks(cluster: FakeCluster) -> None:
    """Each task succeeds."""
    for pod in cluster.pods():
        if task := cluster.objects[pod]["metadata"]["labels"].get(children.TASK_LABEL):
            cluster.end_pod(pod, results.success(task))


def written(found: Manifest) -> Manifest:
    """What the operator wrote of an object."""
    kept = {name: value for name, value in found.items() if name != "status"}
    metadata = found["metadata"].items()
    return {
        **kept,
        "metadata": {name: value for name, value in metadata if name not in BY_THE_APISERVER},
    }


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name, resource in RESOURCES.items():
        (FOLDER / f"{name}.yaml").write_text(children_of(resource))


if __name__ == "__main__":
    main()
