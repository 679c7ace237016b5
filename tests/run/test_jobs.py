"""What the pods of a run ask for, and what their Jobs carry."""

import json
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
        (on_gpus(processesPerNode=4, nodes=1), {"nvidia.com/gpu": "4"}, {"nvidia.com/gpu": "4"}),
        (on_gpus(resource="amd.com/gpu", processesPerNode=2), {"amd.com/gpu": "2"}, {"amd.com/gpu": "2"}),
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


REVISION = "0123456789abcdef0123456789abcdef01234567"
FETCHED = {
    "s3": (
        {"source": "s3://hospital/2026/cardiology.jsonl", "endpoint": "http://minio:9000"},
        {"scheme": "s3", "bucket": "hospital", "key": "2026/cardiology.jsonl", "endpoint": "http://minio:9000"},
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
    ),
    "hf": (
        {"source": f"hf://datasets/hospital/voices@{REVISION}/data/cardiology.jsonl"},
        {"scheme": "hf", "repository": "hospital/voices", "revision": REVISION, "path": "data/cardiology.jsonl"},
        ["HF_TOKEN"],
    ),
}


@pytest.mark.parametrize(("dataset", "fetch", "entries"), FETCHED.values(), ids=FETCHED.keys())
def test_the_check_alone_fetches_a_dataset_with_the_credentials_of_the_run(
    dataset: Manifest, fetch: Manifest, entries: list[str]
) -> None:
    credentials = {"secretName": "reader"}
    jobs = jobs_of(resources.run("heart", dataset={**dataset, "credentials": credentials}))
    check = variables(jobs["check"])
    order = json.loads(check["WARDROBE_CONFIG"]["value"])
    assert (order["fetch"], order["datasetFile"]) == (fetch, "/wardrobe/run/check/fetched")
    secret = {name: found["valueFrom"]["secretKeyRef"] for name, found in check.items() if of_secret(found)}
    assert secret == {name: {"name": "reader", "key": name} for name in entries}
    for task in ("train", "assess"):
        assert not any(map(of_secret, variables(jobs[task]).values()))


def check_of(**dataset: Any) -> tuple[Manifest, Manifest]:
    """Its order, and its pod."""
    job = jobs_of(resources.run("heart", dataset=dataset))["check"]
    return json.loads(variables(job)["WARDROBE_CONFIG"]["value"]), job["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("validation", "fraction", "seed"),
    [({}, 0.2, 7), ({"fraction": "0.25"}, 0.25, 7), ({"seed": 0}, 0.2, 0)],
)
def test_a_share_of_the_file_is_held_out(validation: Manifest, fraction: float, seed: int) -> None:
    order, _ = check_of(source="pvc://datasets/heart.jsonl", validation=validation)
    assert (order["validationFraction"], order["seed"]) == (fraction, seed)
    assert "validation" not in order


def test_a_held_out_file_of_its_own_is_mounted_beside_the_other() -> None:
    order, pod = check_of(
        source="configmap://renal-examples/train.jsonl",
        format="CSV",
        columns={"prompt": "question", "completion": "answer"},
        validation={"source": "configmap://renal-examples/passages.parquet"},
    )
    assert "validationFraction" not in order
    assert (order["fileFormat"], order["columns"]) == ("CSV", {"prompt": "question", "completion": "answer"})
    assert order["validation"] == {
        "datasetFile": "/wardrobe/validation/passages.parquet",
        "source": "configmap://renal-examples/passages.parquet",
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert volumes == {"dataset": "renal-examples", "validation": "renal-examples"}
    assert (mounts["dataset"], mounts["validation"]) == ("/wardrobe/datasets", "/wardrobe/validation")


def test_two_files_of_one_claim_are_one_volume_at_two_places() -> None:
    order, pod = check_of(source="pvc://datasets/a.jsonl", validation={"source": "pvc://datasets/b.jsonl"})
    assert order["datasetFile"] == "/wardrobe/datasets/a.jsonl"
    assert order["validation"]["datasetFile"] == "/wardrobe/validation/b.jsonl"
    claims = [found["persistentVolumeClaim"]["claimName"] for found in pod["volumes"] if "emptyDir" not in found]
    assert claims.count("datasets") == 1


def test_a_held_out_file_alone_may_be_fetched() -> None:
    validation = {"source": "s3://hospital/test.jsonl"}
    run = resources.run(
        "heart",
        dataset={"source": "pvc://datasets/a.jsonl", "credentials": {"secretName": "s"}, "validation": validation},
    )
    check = variables(jobs_of(run)["check"])
    order = json.loads(check["WARDROBE_CONFIG"]["value"])
    assert order["validation"]["fetch"] == {"scheme": "s3", "bucket": "hospital", "key": "test.jsonl"}
    assert order["validation"]["datasetFile"] == "/wardrobe/run/check/fetched-validation"
    secrets = {
        found["valueFrom"]["secretKeyRef"]["name"]
        for found in check.values()
        if "secretKeyRef" in found.get("valueFrom", {})
    }
    assert secrets == {"s"}


def test_without_credentials_the_dataset_is_asked_for_without_a_name() -> None:
    check = variables(jobs_of(resources.run("heart", source="s3://hospital/cardiology.jsonl"))["check"])
    assert not any(map(of_secret, check.values()))


def of_secret(variable: Manifest) -> bool:
    return "secretKeyRef" in variable.get("valueFrom", {})


def variables(job: Manifest) -> dict[str, Manifest]:
    found = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return {variable["name"]: variable for variable in found}
