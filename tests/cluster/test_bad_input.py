"""Bad datasets, bad bases and impossible pods: each is said with field, value, rule and next step."""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from kubernetes import client
from support import resources
from support.cluster import Namespace
from support.operator_process import Operator

from wardrobe.api.meta import Manifest

pytestmark = [pytest.mark.node, pytest.mark.drill]

Prepare = Callable[..., Namespace]
Operate = Callable[[Namespace], AbstractContextManager[Operator]]
MODEL = Path(__file__).parents[2] / "examples" / "tantanila" / "model"

GOOD = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]}


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def asking(*roles: str) -> Manifest:
    return {"messages": [{"role": role, "content": "something"} for role in roles]}


LONG = {"messages": [{"role": "user", "content": "why " * 400}, {"role": "assistant", "content": "Because."}]}
WRONG_ROLES = lines(GOOD, asking("assistant", "user"))
DATASETS = {
    "empty": ("", "DatasetEmpty", "spec.dataset.source"),
    "not-json": (lines(GOOD) + "{what\n", "DatasetMalformed", "row 2"),
    "wrong-roles": (WRONG_ROLES, "RolesInvalid", "row 2"),
    "all-truncated": (lines(*[LONG] * 5), "AnswersTruncated", "spec.training.sequenceLength"),
}


def test_bad_datasets_are_refused_before_any_training_pod(prepare: Prepare, operate: Operate) -> None:
    namespace = prepare({f"{name}.jsonl": text for name, (text, _, _) in DATASETS.items()})
    namespace.apply(resources.base_model())
    for name in [*DATASETS, "missing"]:
        run = resources.run(name, name, f"pvc://datasets/{name}.jsonl", training={"sequenceLength": 128})
        namespace.apply(run)
    rows = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="rows"), data={"rows.jsonl": WRONG_ROLES})
    client.CoreV1Api(namespace.api).create_namespaced_config_map(namespace.name, rows)
    namespace.apply(resources.run("in-a-configmap", "in-a-configmap", "configmap://rows/rows.jsonl"))
    expected = {name: (reason, said) for name, (_, reason, said) in DATASETS.items()}
    expected["in-a-configmap"] = ("RolesInvalid", "row 2")
    expected["missing"] = ("DatasetNotFound", "pvc://datasets/missing.jsonl")
    with operate(namespace):
        for name, (reason, said) in expected.items():
            condition = namespace.await_condition("FineTuneJob", name, "Succeeded", "False")
            assert condition["reason"] == reason, condition
            assert said in condition["message"]
            stalled = namespace.condition("FineTuneJob", name, "Stalled")
            assert stalled["status"] == "True"
    tasks = {pod["metadata"]["labels"]["wardrobe.dev/task"] for pod in namespace.pods()}
    assert tasks == {"inspect", "check"}


def broken_models(folder: Path) -> None:
    """Bases that cannot be used, in a claim of their own."""
    unknown = shutil.copytree(MODEL, folder / "unknown")
    config = json.loads((unknown / "config.json").read_text())
    (unknown / "config.json").write_text(
        json.dumps({**config, "architectures": ["FluxCapacitor"], "model_type": "flux"})
    )
    pickled = shutil.copytree(MODEL, folder / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")


BASES = {
    "absent": ("BaseNotFound", "pvc://models/absent"),
    "base/unknown": ("ArchitectureUnknown", "'flux'"),
    "base/pickled": ("UnsafeWeights", "pytorch_model.bin"),
}


def test_bad_bases_are_refused(prepare: Prepare, operate: Operate, tmp_path: Path) -> None:
    models = tmp_path / "broken"
    models.mkdir()
    broken_models(models)
    namespace = prepare(model=models)
    for path in BASES:
        namespace.apply(resources.base_model(path.rpartition("/")[2], f"pvc://models/{path}"))
    with operate(namespace):
        for path, (reason, said) in BASES.items():
            name = path.rpartition("/")[2]
            condition = namespace.await_condition("BaseModel", name, "Ready", "False")
            assert condition["reason"] == reason, condition
            assert said in condition["message"]


def test_a_run_that_no_node_fits_waits_and_says_so(prepare: Prepare, operate: Operate) -> None:
    namespace = prepare()
    namespace.apply(resources.base_model())
    impossible = {"resources": {"requests": {"cpu": "900"}}}
    namespace.apply(resources.run("huge", pod=impossible, training={"sequenceLength": 320}))
    with operate(namespace):
        condition = namespace.await_condition("FineTuneJob", "huge", "Succeeded", "Unknown", reason="Unschedulable")
    assert "Insufficient cpu" in condition["message"]
    assert "spec.pod.resources" in condition["message"]


def test_a_gpu_run_asks_for_a_gpu(prepare: Prepare, operate: Operate) -> None:
    """The node counts 8 of them; a run that wants 9 is told what is missing."""
    namespace = prepare()
    namespace.apply(resources.base_model())
    training = {"sequenceLength": 320, "batchSize": 18, "microBatchSize": 2}
    greedy = {"accelerator": "GPU", "processesPerNode": 9}
    namespace.apply(resources.run("greedy", parallelism=greedy, training=training))
    with operate(namespace):
        condition = namespace.await_condition("FineTuneJob", "greedy", "Succeeded", "Unknown", reason="Unschedulable")
    assert "Insufficient nvidia.com/gpu" in condition["message"]
