"""From YAML to Adapters on a real kubelet: training and assessment are real, on a few rows of real data."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from support import operator_process, resources
from support.cluster import Namespace, as_text, without_times
from support.operator_process import NODE_IMAGES, Operator
from support.waiting import eventually

from devcluster import volumes
from wardrobe.api.meta import Manifest
from wardrobe_contracts.manifest import Manifest as AdapterManifest

pytestmark = [pytest.mark.node, pytest.mark.drill]

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]

SMALL: dict[str, Any] = {
    "lora": {"rank": 4, "alpha": 8, "targetModules": ["q_proj", "v_proj"]},
    "training": {"epochs": "1", "learningRate": "3e-4", "batchSize": 8, "microBatchSize": 8, "sequenceLength": 320},
    "pod": {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}},
}


def small_run(name: str, line: str = "cardiology", **spec: Any) -> Manifest:
    return resources.run(name, line, **{**SMALL, **spec})


def succeeded(namespace: Namespace, name: str) -> None:
    namespace.await_condition("FineTuneJob", name, "Succeeded", "True")


def pod_of(namespace: Namespace, task: str) -> Manifest | None:
    found = (pod for pod in namespace.pods() if pod["metadata"]["labels"].get("wardrobe.dev/task") == task)
    return next(found, None)


def task_of(pod: Manifest) -> str:
    task: str = pod["metadata"]["labels"]["wardrobe.dev/task"]
    return task


def pods_of(namespace: Namespace, run: str) -> list[Manifest]:
    return [pod for pod in namespace.pods() if pod["metadata"]["labels"].get("wardrobe.dev/owner") == run]


def runs(namespace: Namespace, run: str, task: str) -> bool:
    return any(task_of(pod) == task and pod["status"].get("phase") == "Running" for pod in pods_of(namespace, run))


def store(namespace: Namespace) -> Path:
    return volumes.folder(namespace.name, "wardrobe-store")


@pytest.fixture(scope="module")
def namespace(prepare: Prepare) -> Namespace:
    """One namespace and one inspected base for all of these tests: a run takes a minute."""
    made = prepare()
    made.apply(resources.base_model())
    return made


def test_killed_for_real_in_each_phase_a_run_ends_as_if_nothing_had_been(
    namespace: Namespace, operate: Operate, kubeconfig: Path, tmp_path: Path
) -> None:
    """Lines begin: the heart's first version, by an operator that is killed while each of its pods runs."""
    namespace.apply(small_run("heart"))
    for task in ("inspect", "check", "train", "assess"):
        operator = operator_process.start(kubeconfig, namespace.name, tmp_path, images=NODE_IMAGES)
        eventually(lambda: pod_of(namespace, task), what=f"{task}, see {operator.log}")  # noqa: B023
        operator.kill()
    with operate(namespace):
        succeeded(namespace, "heart")
    tasks = sorted(pod["metadata"]["labels"]["wardrobe.dev/task"] for pod in namespace.pods())
    assert tasks == ["assess", "check", "inspect", "train"]
    assert [found["metadata"]["name"] for found in namespace.all("Adapter")] == ["cardiology-v1"]


def test_lora_and_qlora_runs_end_in_versions_of_their_lines(namespace: Namespace, operate: Operate) -> None:
    """Another department, and the heart again, at the same time; progress is told while they train."""
    namespace.apply(small_run("child", "paediatrics", method="LoRA"))
    namespace.apply(small_run("heart-2", training={**SMALL["training"], "epochs": "3"}))
    with operate(namespace):
        progress = eventually(lambda: stepping(namespace, "heart-2"), what="a step")
        succeeded(namespace, "child")
        succeeded(namespace, "heart-2")
    assert progress["summary"].startswith("training ")
    assert float(progress["loss"]) > 0
    assert (namespace.get("FineTuneJob", "heart-2") or {})["status"]["progress"] == {"summary": "done"}
    made = {found["metadata"]["name"]: found["spec"] for found in namespace.all("Adapter")}
    assert sorted(made) == ["cardiology-v1", "cardiology-v2", "paediatrics-v1"]
    for spec in made.values():
        assert_published(namespace, spec)


def stepping(namespace: Namespace, name: str) -> Manifest | None:
    """The run's progress once it has made a step."""
    progress: Manifest = (namespace.get("FineTuneJob", name) or {}).get("status", {}).get("progress", {})
    return progress if progress.get("step", 0) > 0 else None


def assert_published(namespace: Namespace, spec: Manifest) -> None:
    """The artifact is where the Adapter says, readable, and its manifest says the same."""
    folder = store(namespace) / spec["artifact"]["path"]
    manifest = AdapterManifest.model_validate_json((folder / "manifest.json").read_text())
    assert manifest.digest == spec["digest"]
    assert manifest.base.digest == spec["baseModel"]["digest"]
    trained_on = spec["lineage"].get("quantization", {"type": "None"})["type"]
    assert [found["variant"] for found in spec["evaluations"]] == [trained_on], "nobody asks for another"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
        "probes.json",
    ]
    assert not list((store(namespace) / "adapters").glob("*/.*")), "nothing half-published"


def test_wiped_statuses_come_back_without_a_new_pod(namespace: Namespace, operate: Operate) -> None:
    kinds = ("BaseModel", "FineTuneJob", "Adapter")
    names = [(kind, found["metadata"]["name"]) for kind in kinds for found in namespace.all(kind)]
    assert len(names) == 7
    pods = sorted(pod["metadata"]["uid"] for pod in namespace.pods())
    with operate(namespace):
        for kind, name in names:
            top = "Succeeded" if kind == "FineTuneJob" else "Ready"
            namespace.await_condition(kind, name, top, "True")
        before = [without_times((namespace.get(*name) or {})["status"]) for name in names]
        for name in names:
            namespace.wipe_status(*name)
        for kind, name in names:
            top = "Succeeded" if kind == "FineTuneJob" else "Ready"
            namespace.await_condition(kind, name, top, "True")
    assert as_text([without_times((namespace.get(*name) or {})["status"]) for name in names]) == as_text(before)
    assert sorted(pod["metadata"]["uid"] for pod in namespace.pods()) == pods


def test_an_adapter_cannot_be_changed_does_not_go_with_its_job_and_keeps_its_number(
    namespace: Namespace, operate: Operate
) -> None:
    objects = client.CustomObjectsApi(namespace.api)
    with pytest.raises(client.ApiException, match="immutable"):
        objects.patch_namespaced_custom_object(
            "wardrobe.dev", "v1alpha1", namespace.name, "adapters", "cardiology-v1", {"spec": {"version": 9}}
        )
    namespace.delete("FineTuneJob", "heart")
    eventually(lambda: not pods_of(namespace, "heart"), what="the run's pods gone")
    assert namespace.get("Adapter", "cardiology-v1") is not None
    namespace.delete("Adapter", "cardiology-v2")
    namespace.apply(small_run("heart-3"))
    with operate(namespace):
        eventually(lambda: runs(namespace, "heart-3", "train"), what="the training pod")
        (pod,) = [pod for pod in pods_of(namespace, "heart-3") if task_of(pod) == "train"]
        client.CoreV1Api(namespace.api).delete_namespaced_pod(pod["metadata"]["name"], namespace.name)
        succeeded(namespace, "heart-3")
    status = (namespace.get("FineTuneJob", "heart-3") or {})["status"]
    assert len(status["attempts"]) == 2, "the pod that was deleted was made again"
    assert status["adapter"] == "cardiology-v3"


@pytest.mark.gauntlet
def test_deleted_in_mid_training_leaves_no_pod_and_no_artifact(namespace: Namespace, operate: Operate) -> None:
    namespace.apply(small_run("endless", "renal", training={**SMALL["training"], "epochs": "80"}))
    with operate(namespace):
        eventually(lambda: stepping(namespace, "endless"), what="a step")
        namespace.delete("FineTuneJob", "endless")
        eventually(lambda: not pods_of(namespace, "endless"), what="no pod")
    jobs = [job for job in namespace.jobs() if job["metadata"]["labels"]["wardrobe.dev/owner"] == "endless"]
    assert jobs == []
    assert not (store(namespace) / "adapters" / "renal").exists()
    assert "renal" not in {found["spec"]["line"] for found in namespace.all("Adapter")}
