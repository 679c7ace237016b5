"""Adapters of somebody else's: a good one out of a bucket is served and proved, bad ones are refused by name.

And one that is written by hand is Ready, and served, once its files are what it says.
"""

import shutil
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from support import deployed, forgery, resources, s3_server
from support.cluster import Namespace, node_address
from support.deployed import Hospital
from support.s3_server import BUCKET, KNOWN, Bucket
from support.traffic import LENGTHS, flowing
from support.waiting import eventually

from devcluster import volumes
from wardrobe.api.meta import Manifest
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_FILES, ADAPTER_WEIGHTS_FILE
from wardrobe_contracts.routes import engine_adapter_name

pytestmark = [pytest.mark.node, pytest.mark.drill]

EVERYWHERE = "0.0.0.0"  # noqa: S104  pods reach it by the node's address
PICKLE = "adapter_model.bin"


@pytest.fixture(scope="module")
def hospital(serve: Any) -> Hospital:
    made: Hospital = serve(deployed.deployment(cardiology="cardiology-v1", paediatrics="paediatrics-v1"))
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name="reader"), string_data=dict(KNOWN))
    client.CoreV1Api(made.namespace.api).create_namespaced_secret(made.namespace.name, secret)
    return made


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with s3_server.serving(tmp_path_factory.mktemp("s3"), EVERYWHERE) as made:
        yield made


def artifact(namespace: Namespace, name: str) -> tuple[Path, Manifest]:
    """Where a version's files are on this machine, and its Adapter."""
    found = namespace.get("Adapter", name) or {}
    return volumes.folder(namespace.name, "wardrobe-store") / found["spec"]["artifact"]["path"], found


def upload(bucket: Bucket, folder: Path, prefix: str) -> None:
    for name in (*ADAPTER_FILES, PICKLE):
        if (folder / name).is_file():
            bucket.put(folder / name, key=f"{prefix}/{name}")


def run(hospital: Hospital, bucket: Bucket, name: str, prefix: str, **adapter: str) -> Manifest:
    """An import into a line of its own, measured on what the hospital serves in."""
    endpoint = f"http://{node_address(hospital.namespace)}:{bucket.port}"
    source = {"source": f"s3://{BUCKET}/{prefix}", "endpoint": endpoint, "credentials": {"secretName": "reader"}}
    return resources.run(
        name,
        name,
        method="Import",
        adapter=source | adapter,
        training={"sequenceLength": 320},
        evaluation={"variants": ["NF4"]},
        pod={"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}},
    )


def test_an_import_from_a_bucket_is_served_and_proved(hospital: Hospital, bucket: Bucket) -> None:
    namespace = hospital.namespace
    folder, good = artifact(namespace, "cardiology-v2")
    upload(bucket, folder, "adapters/good")
    digest = good["spec"]["digest"]
    namespace.apply(run(hospital, bucket, "foreign", "adapters/good", digest=digest))
    namespace.await_condition("FineTuneJob", "foreign", "Succeeded", "True")
    made = (namespace.get("Adapter", "foreign-v1") or {})["spec"]
    assert (made["digest"], made["lineage"]["method"]) == (digest, "Import")
    assert made["lineage"]["adapter"] == {"source": f"s3://{BUCKET}/adapters/good", "digest": digest}
    assert [found["variant"] for found in made["evaluations"]] == ["NF4"]
    assert float(made["evaluations"][0]["candidate"]["loss"]) != float(made["evaluations"][0]["base"]["loss"])
    as_before = engine_adapter_name("cardiology-v2", digest)
    name = engine_adapter_name("foreign-v1", digest)
    hospital.known.update({(name, tokens): hospital.known[as_before, tokens] for tokens in LENGTHS})
    with flowing(hospital.traffic()) as traffic:
        hospital.flip("cardiology", "foreign-v1")
        answered = len(traffic.answers)
        eventually(lambda: len(traffic.answers) >= answered + 12, what="answers")
    assert traffic.failures() == []
    assert ("cardiology", "foreign-v1") in deployed.names(traffic.answers)
    hospital.flip("cardiology", "cardiology-v1")


def as_a_pickle(folder: Path) -> None:
    (folder / ADAPTER_WEIGHTS_FILE).rename(folder / PICKLE)


def as_dora(folder: Path) -> None:
    text = (folder / ADAPTER_CONFIG_FILE).read_text()
    (folder / ADAPTER_CONFIG_FILE).write_text(text.replace('"use_dora": false', '"use_dora": true'))


def no_number(folder: Path) -> None:
    """The last weight."""
    weights = (folder / ADAPTER_WEIGHTS_FILE).read_bytes()
    (folder / ADAPTER_WEIGHTS_FILE).write_bytes(weights[:-4] + array("f", [float("nan")]).tobytes())


BAD: dict[str, tuple[forgery.Change, str]] = {
    "pickle": (as_a_pickle, "its weights are adapter_model.bin, a pickle"),
    "dora": (as_dora, "uses use_dora"),
    "turned": (forgery.turn_a_matrix, "has matrices of"),
    "nan": (no_number, "holds values that are no numbers"),
    "zero": (forgery.zero_all, "every B matrix is zero"),
}


def test_five_bad_ones_are_refused_and_nothing_is_measured(hospital: Hospital, bucket: Bucket, tmp_path: Path) -> None:
    namespace = hospital.namespace
    folder, _ = artifact(namespace, "cardiology-v2")
    before = sorted(found["metadata"]["name"] for found in namespace.all("Adapter"))
    for name, (change, _) in BAD.items():
        copy = Path(shutil.copytree(folder, tmp_path / name))
        change(copy)
        upload(bucket, copy, f"adapters/{name}")
        namespace.apply(run(hospital, bucket, name, f"adapters/{name}"))
    upload(bucket, folder, "adapters/good")
    namespace.apply(run(hospital, bucket, "other", "adapters/good", digest=forgery.OTHER_BASE))
    for name, (_, said) in BAD.items():
        refused = namespace.await_condition("FineTuneJob", name, "Imported", "False")
        assert refused["reason"] == "AdapterInvalid", refused
        assert said in refused["message"]
        assert f"spec.adapter.source is 's3://{BUCKET}/adapters/{name}'" in refused["message"]
    other = namespace.await_condition("FineTuneJob", "other", "Imported", "False")
    assert f"spec.adapter.digest is '{forgery.OTHER_BASE}'" in other["message"]
    assert sorted(found["metadata"]["name"] for found in namespace.all("Adapter")) == before
    owners = {pod["metadata"]["labels"].get("wardrobe.dev/owner") for pod in namespace.pods() if of_task(pod, "assess")}
    assert not owners & {*BAD, "other"}


def of_task(pod: Manifest, task: str) -> bool:
    return bool(pod["metadata"]["labels"].get("wardrobe.dev/task") == task)


def test_an_adapter_by_hand_is_served_once_its_files_are_what_it_says(hospital: Hospital) -> None:
    namespace = hospital.namespace
    store = volumes.folder(namespace.name, "wardrobe-store")
    _, good = artifact(namespace, "paediatrics-v1")
    namespace.apply(resources.by_hand(resources.another_version(good, 2)))
    namespace.apply(resources.by_hand(forgery.forged(store, good, 3, forgery.flip_a_bit, honest=False)))
    ready = namespace.await_condition("Adapter", "paediatrics-v2", "Ready", "True")
    assert "its files are what it says" in ready["message"]
    broken = namespace.await_condition("Adapter", "paediatrics-v3", "Ready", "False")
    assert "adapter_model.safetensors is not what manifest.json lists" in broken["message"]
    hospital.point("paediatrics", "paediatrics-v3")

    def held_back() -> bool:
        found = namespace.condition("AdapterDeployment", deployed.NAME, "AdaptersProved")
        return found.get("reason") == "AdapterNotReady" and "paediatrics-v3" in found["message"]

    eventually(held_back, what=lambda: str(hospital.status()))
    assert "paediatrics-v3" not in hospital.routes()["routes-1.json"]
    hospital.flip("paediatrics", "paediatrics-v2")
    hospital.is_ready()
