"""What the pods of a run ask for, and what their Jobs carry."""

from typing import Any

import pytest
from support import resources
from support.fake_cluster import FakeCluster
from support.golden import NAMESPACE, live, surroundings

from wardrobe.api.meta import Key, Manifest


def jobs_of(run: Manifest) -> dict[str, Manifest]:
    """By task, of a life in which nothing goes wrong."""
    cluster, key = FakeCluster(), Key("FineTuneJob", NAMESPACE, run["metadata"]["name"])
    for found in (run, *surroundings(run)):
        cluster.put(found, NAMESPACE)
    live(cluster, key)
    jobs = (found for key, found in cluster.objects.items() if key.kind == "Job")
    return {job["metadata"]["labels"]["wardrobe.dev/task"]: job for job in jobs}


def on_gpus(resources_of_pod: Manifest | None = None, **parallelism: Any) -> Manifest:
    pod = {"resources": resources_of_pod or {}}
    return resources.run("heart", parallelism={"accelerator": "GPU", **parallelism}, pod=pod)


def limits(job: Manifest) -> Manifest:
    found: Manifest = job["spec"]["template"]["spec"]["containers"][0]["resources"].get("limits", {})
    return found


@pytest.mark.parametrize(
    ("run", "train", "assess"),
    [
        (on_gpus(), {"nvidia.com/gpu": "1"}, {"nvidia.com/gpu": "1"}),
        (on_gpus(processesPerNode=4, nodes=1), {"nvidia.com/gpu": "4"}, {"nvidia.com/gpu": "1"}),
        (on_gpus(resource="amd.com/gpu", processesPerNode=2), {"amd.com/gpu": "2"}, {"amd.com/gpu": "1"}),
        (
            on_gpus({"limits": {"memory": "64Gi"}}),
            {"memory": "64Gi", "nvidia.com/gpu": "1"},
            {"memory": "64Gi", "nvidia.com/gpu": "1"},
        ),
        (resources.run("heart"), {}, {}),
    ],
)
def test_a_pod_asks_for_an_accelerator_for_each_of_its_processes(
    run: Manifest, train: Manifest, assess: Manifest
) -> None:
    run["spec"]["training"] = {"batchSize": 16, "microBatchSize": 2}
    jobs = jobs_of(run)
    assert (limits(jobs["train"]), limits(jobs["assess"])) == (train, assess)
    assert "nvidia.com/gpu" not in limits(jobs["check"])


@pytest.mark.parametrize("run", [on_gpus(), resources.run("heart")])
def test_a_queue_lets_in_what_asks_for_the_persons_resources(run: Manifest) -> None:
    run = resources.in_queue(run, "ward", priority="urgent")
    run["metadata"]["labels"]["team"] = "cardiology"

    def others(job: Manifest) -> dict[str, str]:
        labels: dict[str, str] = job["metadata"]["labels"]
        return {name: text for name, text in labels.items() if "wardrobe" not in text and "wardrobe.dev/" not in name}

    named = {"kueue.x-k8s.io/queue-name": "ward", "kueue.x-k8s.io/priority-class": "urgent"}
    assert {task: others(job) for task, job in jobs_of(run).items()} == {"check": {}, "train": named, "assess": named}
