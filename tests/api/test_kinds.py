"""What the apiserver does with the kinds: defaults, columns, immutability, status."""

from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"
NOW = "2026-11-22T12:00:00Z"
SHA = "sha256:" + "a" * 64

pytestmark = pytest.mark.controlplane


def example(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text())
    return document


def smallest_run() -> dict[str, Any]:
    return {
        "apiVersion": "wardrobe.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "smallest"},
        "spec": {
            "baseModel": {"name": "tantanila-base"},
            "output": {"adapter": "cardiology"},
            "dataset": {"source": "configmap://cardiology/train.jsonl"},
        },
    }


def smallest_deployment() -> dict[str, Any]:
    return {
        "apiVersion": "wardrobe.dev/v1alpha1",
        "kind": "AdapterDeployment",
        "metadata": {"name": "smallest"},
        "spec": {
            "baseModel": {"name": "tantanila-base"},
            "quantization": "NF4",
            "departments": {"cardiology": {"adapter": "cardiology-v1", "keys": {"secretName": "cardiology-keys"}}},
        },
    }


def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": "As it is.", "lastTransitionTime": NOW}


def table(text: str) -> tuple[list[str], list[str]]:
    """Columns and first row of kubectl's output, cut where the headers begin."""
    header, row = text.splitlines()[:2]
    names = header.split()
    starts = [header.index(name) for name in names]
    ends = [*starts[1:], None]
    return names, [row[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def test_defaults_of_a_run(shared_api: Any) -> None:
    spec = shared_api.try_create(smallest_run())["spec"]
    assert spec["method"] == "QLoRA"
    assert spec["dataset"]["validation"] == {}, "a source of its own has neither fraction nor seed"
    assert "lora" not in spec, "another method has none"
    assert spec["training"] == {
        "epochs": "3",
        "learningRate": "2e-4",
        "batchSize": 16,
        "microBatchSize": 4,
        "sequenceLength": 1024,
        "seed": 7,
        "optimizer": "AdamW",
    }
    assert spec["parallelism"] == {
        "nodes": 1,
        "processesPerNode": 1,
        "accelerator": "GPU",
        "resource": "nvidia.com/gpu",
        "startSeconds": 1800,
        "stallSeconds": 1800,
    }
    assert spec["suspend"] is False
    assert {"quantization", "pod", "activeDeadlineSeconds", "ttlSecondsAfterFinished"} & set(spec) == set()


def test_defaults_fill_what_is_left_out_of_a_group(shared_api: Any) -> None:
    run = smallest_run()
    run["spec"] |= {"training": {"epochs": "1"}, "quantization": {}, "lora": {"rank": 4}}
    spec = shared_api.try_create(run)["spec"]
    assert spec["training"]["learningRate"] == "2e-4"
    assert spec["lora"] == {
        "rank": 4,
        "alpha": 32,
        "dropout": "0",
        "targetModules": ["all-linear"],
        "scaling": "Standard",
        "initialization": "KaimingUniform",
    }
    assert spec["quantization"] == {"type": "NF4"}


def test_defaults_of_a_deployment(shared_api: Any) -> None:
    deployment = smallest_deployment()
    spec = shared_api.try_create(deployment)["spec"]
    assert spec == deployment["spec"] | {
        "engine": {"gpus": 0, "adapterMemory": "4Gi"},
        "replicas": 1,
        "history": {"keepLoaded": 2},
        "verification": "Enforce",
        "authentication": "APIKey",
        "router": {"replicas": 2},
    }


def test_defaults_fill_what_is_left_out_of_a_deployments_group(shared_api: Any) -> None:
    deployment = smallest_deployment()
    deployment["spec"] |= {"engine": {"pod": {}}, "router": {"pod": {}}, "history": {}}
    spec = shared_api.try_create(deployment)["spec"]
    assert spec["engine"] == {"gpus": 0, "adapterMemory": "4Gi", "pod": {}}
    assert spec["router"] == {"replicas": 2, "pod": {}}
    assert spec["history"] == {"keepLoaded": 2}


def test_no_authentication_needs_no_keys(shared_api: Any) -> None:
    deployment = smallest_deployment()
    deployment["spec"] |= {"authentication": "None", "departments": {"cardiology": {"adapter": "cardiology-v1"}}}
    assert shared_api.try_create(deployment)["spec"]["authentication"] == "None"


@pytest.mark.parametrize(
    ("department", "adapter"),
    [("c", "c-v1"), ("ward-2-icu", "heart-and-lung-v999999"), ("a" * 40, "a" * 40 + "-v999999")],
)
def test_names_in_a_deployment(department: str, adapter: str, shared_api: Any) -> None:
    deployment = smallest_deployment()
    deployment["spec"]["departments"] = {department: {"adapter": adapter, "keys": {"secretName": "keys.example"}}}
    assert department in shared_api.try_create(deployment)["spec"]["departments"]


def test_a_deployment_may_be_as_large_as_its_bounds(shared_api: Any) -> None:
    deployment = smallest_deployment()
    department = {"adapter": "a" * 40 + "-v999999", "keys": {"secretName": "a" * 253}}
    deployment["spec"]["departments"] = {f"{'a' * 38}{n}": department for n in range(10, 74)}
    assert len(shared_api.try_create(deployment)["spec"]["departments"]) == 64


def test_a_base_names_variants_only_where_somebody_does(shared_api: Any) -> None:
    """What it serves in is what its deployments say."""
    base = example("tantanila/basemodel.yaml")
    del base["spec"]["variants"]
    assert "variants" not in shared_api.try_create(base)["spec"]


def test_how_a_run_is_measured_by_default(shared_api: Any) -> None:
    run = smallest_run()
    assert shared_api.try_create(run)["spec"]["evaluation"] == {"maxRows": 2000}
    run["spec"]["evaluation"] = {"gate": [{"metric": "Loss", "against": "Base"}]}
    rule = {"metric": "Loss", "against": "Base", "maxRegression": "0"}
    assert shared_api.try_create(run)["spec"]["evaluation"]["gate"] == [rule]


@pytest.mark.parametrize("rate", ["2e-4", "1.5e-5", "0.0002", "0.5", "9e-1", "0.000000001"])
def test_learning_rates(rate: str, shared_api: Any) -> None:
    run = smallest_run()
    run["spec"]["training"] = {"learningRate": rate}
    assert 0 < float(shared_api.try_create(run)["spec"]["training"]["learningRate"]) < 1


@pytest.mark.parametrize("epochs", ["3", "0.5", "0.05", "1.25", "999.99", "10"])
def test_epochs(epochs: str, shared_api: Any) -> None:
    run = smallest_run()
    run["spec"]["training"] = {"epochs": epochs}
    assert float(shared_api.try_create(run)["spec"]["training"]["epochs"]) > 0


@pytest.mark.parametrize("fraction", ["0.01", "0.1", "0.2", "0.25", "0.333", "0.5", "0.50"])
def test_fractions(fraction: str, shared_api: Any) -> None:
    run = smallest_run()
    run["spec"]["dataset"]["validation"] = {"fraction": fraction}
    assert 0.01 <= float(shared_api.try_create(run)["spec"]["dataset"]["validation"]["fraction"]) <= 0.5


def test_variants_of_a_base_may_grow(api: Any) -> None:
    base = example("tantanila/basemodel.yaml")
    base["spec"]["variants"] = ["NF4"]
    api.create(base)
    base["spec"]["variants"] = ["NF4", "INT8"]
    assert api.replace(base)["spec"]["variants"] == ["NF4", "INT8"]


def test_labels_of_an_immutable_kind_may_change(api: Any) -> None:
    adapter = example("adapters/as-made.yaml")
    api.create(adapter)
    api.kubectl("label", "adapter", "cardiology-v1", "example.com/team=heart")
    api.replace(adapter)


@pytest.mark.parametrize(
    ("name", "patch"),
    [
        ("finetunejob-all-fields.yaml", {"spec": {"training": {"epochs": "9"}}}),
        ("adapters/as-made.yaml", {"spec": {"lora": {"rank": 4}}}),
    ],
)
def test_kubectl_patch_of_an_immutable_spec(name: str, patch: dict[str, Any], api: Any) -> None:
    document = example(name)
    api.create(document)
    with pytest.raises(Exception, match="spec is immutable"):
        api.kubectl(
            "patch", document["kind"], document["metadata"]["name"], "--type=merge", f"-p={yaml.safe_dump(patch)}"
        )


CRD = yaml.safe_load((EXAMPLES.parent / "crds/finetunejobs.yaml").read_text())
FIELDS_OF_A_RUN = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
MAY_CHANGE = {"suspend": True, "ttlSecondsAfterFinished": 60}


@pytest.mark.parametrize("field", sorted(FIELDS_OF_A_RUN.keys() - MAY_CHANGE.keys()))
def test_every_other_field_of_a_run_is_as_it_was_started_with(
    field: str, shared_api: Any, refused: type[Exception]
) -> None:
    """Changed, left out, and written where it was not."""
    of_an_import = field == "adapter"
    whole = example("finetunejob-import.yaml" if of_an_import else "finetunejob-all-fields.yaml")["spec"]
    least = smallest_run()["spec"]
    whole.pop("quantization") if field == "method" else None  # LoRA has none
    others = {"method": "LoRA", "baseModel": {"name": "other"}, "adapter": {"source": "pvc://other/adapter"}}
    other = others.get(field, least.get(field))
    changed = {key: value for key, value in whole.items() if key != field} | ({field: other} if other else {})
    run = smallest_run()
    for before, after in ((whole, changed), (changed, whole)):
        shared_api.create({**run, "spec": before})
        try:
            with pytest.raises(refused, match="spec is immutable but for suspend and ttlSecondsAfterFinished"):
                shared_api.replace({**run, "spec": after})
        finally:
            shared_api.delete(run)


@pytest.mark.parametrize("field", MAY_CHANGE)
def test_a_run_is_suspended_and_kept_for_as_long_as_somebody_wants(field: str, api: Any) -> None:
    run = smallest_run()
    api.create(run)
    for value in (MAY_CHANGE[field], None):
        after = api.replace({**run, "spec": run["spec"] | ({field: value} if value else {})})
        assert after["spec"].get(field) == (value or FIELDS_OF_A_RUN[field].get("default"))


def test_a_deadline_of_one_checkpoint_is_taken(shared_api: Any) -> None:
    run = smallest_run()
    run["spec"] |= {"activeDeadlineSeconds": 600}
    assert shared_api.try_create(run)["spec"]["checkpoints"]["everySeconds"] == 600


def test_an_import_says_over_how_many_accelerators_its_base_may_be_spread(shared_api: Any) -> None:
    run = example("finetunejob-import.yaml")
    run["spec"]["parallelism"] = {"processesPerNode": 3}  # no divisor of the batch that nobody trains
    shared_api.try_create(run)


def test_rollback_is_a_merge_patch_of_one_department(api: Any) -> None:
    deployment = example("tantanila/adapterdeployment.yaml")
    before = api.create(deployment)
    patch = '{"spec":{"departments":{"cardiology":{"adapter":"cardiology-v2"}}}}'
    api.kubectl("patch", "adp", "tantanila", "--type=merge", f"-p={patch}")
    after = yaml.safe_load(api.kubectl("get", "adp", "tantanila", "-o=yaml"))
    before["spec"]["departments"]["cardiology"]["adapter"] = "cardiology-v2"
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == 2


def test_a_merge_patch_of_null_takes_a_department_away(api: Any) -> None:
    api.create(example("tantanila/adapterdeployment.yaml"))
    api.kubectl("patch", "adp", "tantanila", "--type=merge", '-p={"spec":{"departments":{"cardiology":null}}}')
    after = yaml.safe_load(api.kubectl("get", "adp", "tantanila", "-o=yaml"))
    assert list(after["spec"]["departments"]) == ["paediatrics"]


def test_everything_but_the_base_of_a_deployment_may_change(api: Any) -> None:
    whole = example("adapterdeployment-all-fields.yaml")
    api.create({**smallest_deployment(), "metadata": whole["metadata"]})
    assert api.replace(whole)["spec"] == whole["spec"]


def test_deployments_scale(api: Any) -> None:
    deployment = example("tantanila/adapterdeployment.yaml")
    api.create(deployment)
    api.write_status({**deployment, "status": {"replicas": 1, "selector": "app=engine"}})
    api.kubectl("scale", "adp/tantanila", "--replicas=3")
    scale = yaml.safe_load(api.kubectl("get", "adp", "tantanila", "--subresource=scale", "-o=yaml"))
    assert (scale["spec"], scale["status"]) == ({"replicas": 3}, {"replicas": 1, "selector": "app=engine"})


def test_spec_write_leaves_status_alone(api: Any) -> None:
    base = example("tantanila/basemodel.yaml")
    api.create(base)
    api.write_status({**base, "status": {"digest": SHA}})
    assert api.replace({**base, "status": {}})["status"] == {"digest": SHA}


def test_columns_of_a_base(api: Any) -> None:
    base = example("tantanila/basemodel.yaml")
    api.create(base)
    status = {
        "observedGeneration": 1,
        "conditions": [condition("Ready", "True", "Inspected")],
        "digest": SHA,
        "fingerprint": SHA,
        "files": 7,
        "sizeBytes": 11817000,
        "summary": "5.8M LlamaForCausalLM, 1024 tokens",
        "shape": {
            "architecture": "LlamaForCausalLM",
            "modelType": "llama",
            "parameters": 5773568,
            "hiddenSize": 256,
            "intermediateSize": 768,
            "layers": 6,
            "attentionHeads": 8,
            "keyValueHeads": 4,
            "headDim": 32,
            "vocabularySize": 4096,
            "contextLength": 1024,
            "dtype": "bfloat16",
            "embeddings": "Tied",
        },
        "tokenizer": {
            "digest": SHA,
            "vocabularySize": 4096,
            "eosToken": "<|end|>",
            "padToken": "<|pad|>",
            "chatTemplateDigest": SHA,
            "generationMarker": "Absent",
        },
    }
    assert api.write_status({**base, "status": status})["status"] == status
    assert table(api.kubectl("get", "bm"))[0] == ["NAME", "READY", "REASON", "MODEL", "VARIANTS", "AGE"]
    names, row = table(api.kubectl("get", "bm", "-o=wide"))
    assert names == ["NAME", "READY", "REASON", "MODEL", "VARIANTS", "DIGEST", "SOURCE", "AGE"]
    assert row[:4] == ["tantanila-base", "True", "Inspected", "5.8M LlamaForCausalLM, 1024 tokens"]
    assert row[5:7] == [SHA, "pvc://models/tantanila-base"]


def test_columns_of_a_run(api: Any) -> None:
    run = example("tantanila/finetunejob-cardiology.yaml")
    api.create(run)
    status = {
        "observedGeneration": 1,
        "conditions": [condition("Succeeded", "Unknown", "Running"), condition("Reconciling", "True", "Running")],
        "run": "cardiology-0b8f2a53",
        "startTime": NOW,
        "restarts": 1,
        "attempts": [
            {"number": 1, "result": "PREEMPTED", "reason": "Terminated", "steps": 30, "resumed": 0, "lost": 2},
            {"number": 2, "result": "Running"},
        ],
        "goodput": "0.933",
        "adapter": "cardiology-v1",
        "score": "4.07 → 2.48 (-39 %)",
        "verdict": "Accepted",
        "dataset": {
            "digest": SHA,
            "rows": 555,
            "trainRows": 457,
            "heldoutRows": 98,
            "heldoutShare": "0.177",
            "droppedRows": 0,
            "leftOutRows": 3,
            "truncatedRows": 0,
            "warnings": ["Three prompts occur with different answers."],
        },
        "progress": {
            "summary": "training 42/114 (37%), 50s left",
            "stage": "Training",
            "step": 42,
            "steps": 114,
            "epoch": "0.74",
            "loss": "2.61",
            "tokensPerSecond": "3300.5",
            "secondsLeft": 50,
            "updated": NOW,
        },
    }
    assert api.write_status({**run, "status": status})["status"] == status
    names, row = table(api.kubectl("get", "ftj"))
    assert names == ["NAME", "SUCCEEDED", "REASON", "PROGRESS", "RESTARTS", "SCORE", "VERDICT", "ADAPTER", "AGE"]
    summary, score = status["progress"]["summary"], status["score"]  # type: ignore[index]
    assert row[:-1] == ["cardiology", "Unknown", "Running", summary, "1", score, "Accepted", "cardiology-v1"]
    assert table(api.kubectl("get", "ftj", "-o=wide"))[1][8:10] == ["QLoRA", "tantanila-base"]


def test_columns_of_an_adapter(api: Any) -> None:
    adapter = example("adapters/rejected.yaml")
    api.create(adapter)
    status = {
        "observedGeneration": 1,
        "conditions": [condition("Ready", "True", "Accepted")],
        "score": "4.07 → 2.48 (-39 %)",
        "usedBy": ["clinic", "tantanila"],
    }
    api.write_status({**adapter, "status": status})
    names, row = table(api.kubectl("get", "adapters"))
    assert names == ["NAME", "READY", "REASON", "SCORE", "VERDICT", "IN", "USE", "BASE", "METHOD", "AGE"]
    ready, users = ["cardiology-v2", "True", "Accepted", status["score"], "Rejected"], '["clinic","tantanila"]'
    assert [*row[:5], "".join(row[5:7]), *row[7:-1]] == [*ready, users, "tantanila-base", "QLoRA"]
    assert table(api.kubectl("get", "adapters", "-o=wide"))[1][9] == adapter["spec"]["digest"]
    del status["usedBy"]
    api.write_status({**adapter, "status": status})
    assert table(api.kubectl("get", "adapters"))[1][5:7] == ["", ""], "not in use"


def test_columns_of_a_deployment(api: Any) -> None:
    deployment = example("tantanila/adapterdeployment.yaml")
    api.create(deployment)
    live = "cardiology→cardiology-v1 paediatrics→paediatrics-v1"
    status = {
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "False", "Proving"),
            *(condition(kind, "True", "Example") for kind in ("AdaptersProved", "RoutesApplied", "KeysLoaded")),
            condition("Reconciling", "True", "Proving"),
            condition("Stalled", "False", "Proving"),
        ],
        "url": "http://10.96.0.17",
        "live": live,
        "warm": "cardiology→cardiology-v3 paediatrics→(none)",
        "newAdapters": "LoadWhileServing",
        "routesGeneration": 4,
        "replicas": 2,
        "readyReplicas": 1,
        "selector": "wardrobe.dev/owner=tantanila",
        "departments": {
            "cardiology": {
                "adapter": "cardiology-v1",
                "wanted": "cardiology-v2",
                "previous": ["cardiology-v3"],
                "warm": ["cardiology-v3"],
                "state": "Proving",
            },
            "paediatrics": {"adapter": "paediatrics-v1", "wanted": "paediatrics-v1", "previous": [], "state": "Live"},
        },
    }
    assert api.write_status({**deployment, "status": status})["status"] == status
    names, row = table(api.kubectl("get", "adp"))
    assert names == ["NAME", "READY", "REASON", "LIVE", "READYREPLICAS", "URL", "AGE"]
    assert row[:-1] == ["tantanila", "False", "Proving", live, "1", "http://10.96.0.17"]
    names, row = table(api.kubectl("get", "adp", "-o=wide"))
    assert names[6:] == ["BASE", "QUANTIZATION", "WARM", "NEWADAPTERS", "AGE"]
    assert row[6:10] == ["tantanila-base", "NF4", status["warm"], "LoadWhileServing"]


def test_one_category_lists_all_kinds(api: Any) -> None:
    for name in (
        "tantanila/basemodel.yaml",
        "tantanila/finetunejob-cardiology.yaml",
        "adapters/as-made.yaml",
        "tantanila/adapterdeployment.yaml",
    ):
        api.create(example(name))
    listed = api.kubectl("get", "wardrobe", "-o=name").split()
    assert listed == [
        "adapterdeployment.wardrobe.dev/tantanila",
        "adapter.wardrobe.dev/cardiology-v1",
        "basemodel.wardrobe.dev/tantanila-base",
        "finetunejob.wardrobe.dev/cardiology",
    ]


@pytest.mark.parametrize(
    "field",
    [
        "finetunejob.spec.dataset.validation.fraction",
        "finetunejob.status.progress.summary",
        "finetunejob.spec.pod.tolerations",
        "adapterdeployment.spec.router.pod.tolerations",
        "adp.spec.departments.keys",
    ],
)
def test_kubectl_explains_fields(field: str, api: Any) -> None:
    assert "DESCRIPTION:" in api.kubectl("explain", field)
