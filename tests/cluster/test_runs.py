"""From YAML to Adapters on a real kubelet: training and assessment are real, on a few rows of real data."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from kubernetes import client
from support import operator_process, resources
from support.cluster import Manifest, Namespace, as_text, without_times
from support.operator_process import Operator
from support.waiting import eventually

from devcluster import volumes
from wardrobe_contracts.manifest import Manifest as AdapterManifest

pytestmark = pytest.mark.node

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]

RUN_WITHIN = 240.0
SMALL = {
    "lora": {"rank": 4, "alpha": 8, "targetModules": ["q_proj", "v_proj"]},
    "training": {"epochs": "1", "learningRate": "3e-4", "batchSize": 8, "microBatchSize": 8, "sequenceLength": 320},
    "pod": {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}},
}


def small_run(name: str, line: str = "cardiology", **spec: object) -> Manifest:
    return resources.run(name, line, **{**SMALL, **spec})


def start(namespace: Namespace, *runs: Manifest) -> None:
    namespace.apply(resources.base_model())
    for run in runs:
        namespace.apply(run)


def succeeded(namespace: Namespace, name: str) -> None:
    namespace.await_condition("FineTuneJob", name, "Succeeded", "True", within=RUN_WITHIN)


def pod_of(namespace: Namespace, task: str) -> Manifest | None:
    found = (pod for pod in namespace.pods() if pod["metadata"]["labels"].get("wardrobe.dev/task") == task)
    return next(found, None)


def runs(namespace: Namespace, task: str) -> bool:
    pod = pod_of(namespace, task)
    return pod is not None and pod["status"].get("phase") == "Running"


def store(namespace: Namespace) -> Path:
    return volumes.folder(namespace.name, "wardrobe-store")


@pytest.fixture
def namespace(prepare: Prepare) -> Namespace:
    return prepare()


def test_lora_and_qlora_runs_end_in_versions_of_their_lines(namespace: Namespace, operate: Operate) -> None:
    second = small_run("heart-2", method="LoRA")
    start(namespace, small_run("heart"), small_run("child", "paediatrics", method="LoRA"))
    with operate(namespace):
        succeeded(namespace, "heart")
        succeeded(namespace, "child")
        namespace.apply(second)
        succeeded(namespace, "heart-2")
    made = {found["metadata"]["name"]: found["spec"] for found in namespace.all("Adapter")}
    assert sorted(made) == ["cardiology-v1", "cardiology-v2", "paediatrics-v1"]
    for spec in made.values():
        assert_published(namespace, spec)
    assert_immutable(namespace)


def assert_published(namespace: Namespace, spec: Manifest) -> None:
    """The artifact is where the Adapter says, readable, and its manifest says the same."""
    folder = store(namespace) / spec["artifact"]["path"]
    manifest = AdapterManifest.model_validate_json((folder / "manifest.json").read_text())
    assert manifest.digest == spec["digest"]
    assert manifest.base.digest == spec["baseModel"]["digest"]
    assert [found["variant"] for found in spec["evaluations"]] == ["None", "INT8", "NF4"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
        "probes.json",
    ]
    assert not list((store(namespace) / "adapters").glob("*/.*")), "nothing half-published"


def assert_immutable(namespace: Namespace) -> None:
    """An Adapter cannot be changed, and does not go with its job."""
    objects = client.CustomObjectsApi(namespace.api)
    with pytest.raises(client.ApiException, match="immutable"):
        objects.patch_namespaced_custom_object(
            "wardrobe.dev", "v1alpha1", namespace.name, "adapters", "cardiology-v1", {"spec": {"version": 9}}
        )
    namespace.delete("FineTuneJob", "heart")
    eventually(lambda: pod_of(namespace, "train") is None or len(namespace.jobs()) < 10, within=60, what="pruned")
    assert namespace.get("Adapter", "cardiology-v1") is not None


def test_killed_for_real_in_each_phase(
    namespace: Namespace, operate: Operate, kubeconfig: Path, tmp_path: Path
) -> None:
    start(namespace, small_run("heart"))
    for task in ("inspect", "check", "train", "assess"):
        operator = operator_process.start(kubeconfig, namespace.name, tmp_path, images=operator_process.NODE_IMAGES)
        eventually(lambda: pod_of(namespace, task), within=120, what=f"{task}, see {operator.log}")  # noqa: B023
        operator.kill()
    with operate(namespace):
        succeeded(namespace, "heart")
    tasks = sorted(pod["metadata"]["labels"]["wardrobe.dev/task"] for pod in namespace.pods())
    assert tasks == ["assess", "check", "inspect", "train"]
    assert [found["metadata"]["name"] for found in namespace.all("Adapter")] == ["cardiology-v1"]


def test_wiped_statuses_come_back_without_a_new_pod(namespace: Namespace, operate: Operate) -> None:
    start(namespace, small_run("heart"))
    names = [("BaseModel", "base"), ("FineTuneJob", "heart"), ("Adapter", "cardiology-v1")]
    with operate(namespace):
        succeeded(namespace, "heart")
        namespace.await_condition("Adapter", "cardiology-v1", "Ready", "True")
        before = [without_times((namespace.get(*name) or {})["status"]) for name in names]
        pods = sorted(pod["metadata"]["uid"] for pod in namespace.pods())
        for name in names:
            namespace.wipe_status(*name)
        succeeded(namespace, "heart")
        namespace.await_condition("BaseModel", "base", "Ready", "True")
        namespace.await_condition("Adapter", "cardiology-v1", "Ready", "True")
    assert as_text([without_times((namespace.get(*name) or {})["status"]) for name in names]) == as_text(before)
    assert sorted(pod["metadata"]["uid"] for pod in namespace.pods()) == pods


def test_deleted_in_mid_training_leaves_no_pod_and_no_artifact(namespace: Namespace, operate: Operate) -> None:
    start(namespace, small_run("heart", training={**SMALL["training"], "epochs": "50"}))
    with operate(namespace):
        eventually(
            lambda: "training" in str((namespace.get("FineTuneJob", "heart") or {}).get("status", {}).get("progress")),
            within=120,
            what="training progress",
        )
        eventually(lambda: runs(namespace, "train"), within=60, what="the training pod")
        namespace.delete("FineTuneJob", "heart")
        eventually(lambda: pod_of(namespace, "train") is None, within=120, what="no training pod")
        eventually(lambda: len(namespace.jobs()) == 1, within=60, what="only the inspection's Job")
    assert not list((store(namespace)).glob("adapters/*/*"))
    assert namespace.all("Adapter") == []


def test_progress_is_told_while_it_trains(namespace: Namespace, operate: Operate) -> None:
    start(namespace, small_run("heart", training={**SMALL["training"], "epochs": "8"}))

    def stepping() -> Manifest | None:
        progress: Manifest = (namespace.get("FineTuneJob", "heart") or {}).get("status", {}).get("progress", {})
        return progress if progress.get("step", 0) > 0 else None

    with operate(namespace):
        progress = eventually(stepping, within=180, what="a step")
        succeeded(namespace, "heart")
    assert progress["summary"].startswith("training ")
    assert float(progress["loss"]) > 0
    assert (namespace.get("FineTuneJob", "heart") or {})["status"]["progress"] == {"summary": "done"}


def test_a_training_pod_that_is_deleted_is_made_again(namespace: Namespace, operate: Operate) -> None:
    start(namespace, small_run("heart"))
    with operate(namespace):
        eventually(lambda: runs(namespace, "train"), within=120, what="the training pod")
        pod = pod_of(namespace, "train")
        assert pod is not None
        client.CoreV1Api(namespace.api).delete_namespaced_pod(pod["metadata"]["name"], namespace.name)
        succeeded(namespace, "heart")
    assert (namespace.get("FineTuneJob", "heart") or {})["status"]["attempts"] == 2
    assert [found["metadata"]["name"] for found in namespace.all("Adapter")] == ["cardiology-v1"]
