"""A run of method Import: checked, taken, measured and published under the line's next number; nothing is trained."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import resources, results
from support.fake_cluster import FakeCluster, kill_after
from support.run_story import KEYS, NAMESPACE, RUNS, Story

from wardrobe.api.finetunejob import FineTuneJobSpec
from wardrobe.api.meta import Key, Manifest
from wardrobe.api.sources import ClaimSource, parse_adapter_source
from wardrobe.base.ready import ReadyBase
from wardrobe.run.serving import Serving
from wardrobe.run.stages.assess import variants
from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Variant
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.imports import ImportConfig
from wardrobe_contracts.manifest import ImportLineage
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.remote import S3Folder
from wardrobe_contracts.result import Result

RUN = KEYS[1]
MADE = Key("Adapter", NAMESPACE, "cardiology-v1")
IN_A_CLAIM = {"source": "pvc://models/foreign/renal"}
WANTED = results.digest("7")


def story(adapter: Manifest, **spec: Any) -> Story:
    cluster = FakeCluster()
    run = resources.run(RUNS[0], method="Import", adapter=adapter, **spec)
    for manifest in (resources.base_model(), run, *map(resources.claim, ("wardrobe-store", "models", "datasets"))):
        cluster.put(manifest, NAMESPACE)
    return Story(cluster)


def said(told: Story, kind: str) -> Manifest:
    conditions = told.cluster.objects[RUN]["status"]["conditions"]
    found: Manifest = next(one for one in conditions if one["type"] == kind)
    return found


def pod_of(told: Story, task: str) -> Manifest:
    """The template of the Job that does a task."""
    run = told.cluster.objects[RUN]["status"]["run"]
    spec: Manifest = told.cluster.objects[Key("Job", NAMESPACE, f"{run}-{task}-1")]["spec"]["template"]["spec"]
    return spec


def order_of(told: Story, task: str) -> str:
    [order] = [found["value"] for found in variables(told, task) if found["name"] == "WARDROBE_CONFIG"]
    return str(order)


def variables(told: Story, task: str) -> list[Manifest]:
    found: list[Manifest] = pod_of(told, task)["containers"][0]["env"]
    return found


def assert_finished(told: Story) -> None:
    spec = told.cluster.objects[MADE]["spec"]
    assert spec["lora"] == {
        "rank": 8,
        "alpha": 16,
        "dropout": "0.05",
        "targetModules": ["q_proj", "v_proj"],
        "scaling": "RankStabilized",
        "initialization": "KaimingUniform",
    }, "as its files have it"
    assert spec["lineage"] == {
        "job": {"name": RUNS[0], "uid": told.cluster.objects[RUN]["metadata"]["uid"]},
        "dataset": {
            "source": "pvc://datasets/rows.jsonl",
            "digest": results.REPORT.dataset_digest,
            "heldoutRows": results.REPORT.heldout_rows,
        },
        "method": "Import",
        "adapter": {"source": IN_A_CLAIM["source"], "digest": results.IMPORTED.digest},
        "packages": {},
    }, "of its training nothing is claimed"
    assert said(told, "Succeeded")["status"] == "True"
    imported = said(told, "Imported")
    assert (imported["status"], imported["reason"]) == ("True", "Imported")
    assert imported["message"] == f"rank 8 on q_proj, v_proj, {results.IMPORTED.digest}"
    jobs = {
        name.rpartition("-")[0].rpartition("-")[2] for name in told.cluster.names("Job") if name.startswith(RUNS[0])
    }
    assert jobs == {"check", "import", "assess"}, "nothing is trained"


def test_killed_after_each_write_of_a_life() -> None:
    undisturbed = story(IN_A_CLAIM)
    undisturbed.settle()
    assert_finished(undisturbed)
    for n in range(1, undisturbed.cluster.writes + 1):
        told = story(IN_A_CLAIM)
        kill_after(told.cluster, n, told.settle)
        assert_finished(told)
        assert len(told.cluster.names("Job")) == len(undisturbed.cluster.names("Job"))


def test_a_wiped_status_comes_back() -> None:
    told = story(IN_A_CLAIM)
    told.settle()
    before = told.cluster.objects[RUN]["status"]["conditions"]
    del told.cluster.objects[RUN]["status"]
    told.settle()
    assert told.cluster.objects[RUN]["status"]["conditions"] == before
    assert told.cluster.names("Adapter") == ["cardiology-v1"]


def test_an_import_is_measured_on_as_many_accelerators_as_it_says() -> None:
    told = story(IN_A_CLAIM, parallelism={"processesPerNode": 3})
    told.settle()
    assert pod_of(told, "assess")["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "3"}


def test_what_the_import_is_told_of_a_claim() -> None:
    told = story({**IN_A_CLAIM, "digest": WANTED})
    told.settle()
    order = ImportConfig.model_validate_json(order_of(told, "import"))
    assert (order.source, order.folder) == (IN_A_CLAIM["source"], "/wardrobe/adapters/foreign/renal")
    assert (order.digest, order.fetch, order.output_folder) == (WANTED, None, "/wardrobe/run/import")
    assert order.base_reference.name == "base"
    mounts = {mount["mountPath"]: mount for mount in pod_of(told, "import")["containers"][0]["volumeMounts"]}
    assert mounts["/wardrobe/adapters"]["readOnly"] is True
    assert "subPath" not in mounts["/wardrobe/adapters"], "a folder that is missing would be made, and not reported"
    assert "resources" in pod_of(told, "import")["containers"][0]
    assert "nvidia.com/gpu" not in str(pod_of(told, "import"))


def test_what_the_import_is_told_of_a_bucket() -> None:
    adapter = {"source": "s3://hospital/adapters/renal", "endpoint": "http://minio:9000"}
    told = story({**adapter, "credentials": {"secretName": "adapter-reader"}})
    told.settle()
    order = ImportConfig.model_validate_json(order_of(told, "import"))
    assert order.fetch == S3Folder(bucket="hospital", prefix="adapters/renal", endpoint="http://minio:9000")
    assert order.folder == "/wardrobe/run/import/fetched"
    named = (one for one in variables(told, "import") if "secretKeyRef" in one.get("valueFrom", {}))
    asked = {found["name"]: found["valueFrom"]["secretKeyRef"] for found in named}
    assert asked == {
        name: {"name": "adapter-reader", "key": name} for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    }
    for task in ("check", "assess"):
        assert "adapter-reader" not in str(pod_of(told, task)), "no other pod is known by it"


def test_another_runs_attempt_is_a_folder_of_the_store() -> None:
    found = parse_adapter_source("run://cardiology-0a1b2c3d/2")
    assert found == ClaimSource("wardrobe-store", "runs/cardiology-0a1b2c3d/2/adapter")
    told = story({"source": "run://cardiology-0a1b2c3d/2"})
    told.settle()
    order = ImportConfig.model_validate_json(order_of(told, "import"))
    assert order.folder == "/wardrobe/adapters/runs/cardiology-0a1b2c3d/2/adapter"
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod_of(told, "import")["volumes"][:3]
        if "persistentVolumeClaim" in volume
    ]
    assert sorted(claims) == ["models", "wardrobe-store"], "one volume, however many mounts it has"


RUN_SOURCE = r"run://[a-z][-a-z0-9]{0,39}-[0-9a-f]{8}/[1-9][0-9]{0,3}"
"""As the CRD has it."""


@given(source=st.from_regex(RUN_SOURCE, fullmatch=True))
def test_no_attempt_leads_out_of_what_runs_have_left(source: str) -> None:
    found = parse_adapter_source(source)
    assert isinstance(found, ClaimSource)
    runs, _, number, last = PurePosixPath(found.path).parts
    assert (runs, number.isdecimal(), last, found.claim) == ("runs", True, "adapter", "wardrobe-store")


def test_the_crd_takes_no_other_runs() -> None:
    assert f"'^{RUN_SOURCE}$'" in (Path(__file__).parents[2] / "crds" / "finetunejobs.yaml").read_text()


def test_what_the_assessment_is_told() -> None:
    told = story(IN_A_CLAIM, training={"sequenceLength": 768, "seed": 3})
    told.settle()
    order = AssessConfig.model_validate_json(order_of(told, "assess"))
    assert order.candidate_folder == "/wardrobe/run/import/adapter"
    assert isinstance(order.lineage, ImportLineage)
    assert (order.lineage.sequence_length, order.lineage.seed) == (768, 3)
    assert order.lineage.adapter_digest == results.IMPORTED.digest
    assert order.lineage.lora == results.IMPORTED.lora


@pytest.mark.parametrize(
    ("named", "of_base", "served", "wanted"),
    [
        ([], [], [], "None"),
        ([], [], ["NF4"], "NF4"),
        ([], ["INT8"], ["NF4"], "INT8 NF4"),
        (["FP4"], ["INT8"], ["NF4"], "FP4"),
    ],
)
def test_what_it_is_measured_on(named: list[str], of_base: list[str], served: list[str], wanted: str) -> None:
    """On what it was trained nobody knows."""
    evaluation: dict[str, Any] = {"evaluation": {"variants": named}} if named else {}
    run = FineTuneJobSpec.model_validate(
        resources.run("heart", method="Import", adapter=IN_A_CLAIM, **evaluation)["spec"]
    )
    base = ReadyBase(**{**vars(resources.base_to_build_on()), "variants": list(map(Variant, of_base))})
    assert " ".join(variants(run, base, Serving(variants=frozenset(map(Variant, served))))) == wanted


def test_a_claim_that_is_not_there_is_said_before_anything_is_checked() -> None:
    told = story({"source": "pvc://elsewhere/renal"})
    told.settle()
    top = said(told, "Succeeded")
    assert (top["status"], top["reason"]) == ("Unknown", "ClaimNotFound")
    assert "spec.adapter.source needs PersistentVolumeClaim 'elsewhere'" in top["message"]
    assert [name for name in told.cluster.names("Job") if name.startswith(RUNS[0])] == []
    told.cluster.put(resources.claim("elsewhere"), NAMESPACE)
    told.settle()
    assert said(told, "Succeeded")["status"] == "True"


def end_with(told: Story, result: Result) -> None:
    """All other tasks succeed."""
    for _ in range(20):
        told.look()
        told.cluster.start_pods()
        for pod in told.cluster.answering():
            task = told.cluster.objects[pod]["metadata"]["labels"]["wardrobe.dev/task"]
            told.cluster.end_pod(pod, result if task == result.task else results.success(task))
        told.cluster.collect_pods()


def test_an_adapter_that_is_refused_ends_the_run_and_is_not_measured() -> None:
    told = story(IN_A_CLAIM)
    problem = Problem(
        field="spec.adapter.source", value=IN_A_CLAIM["source"], rule="uses use_dora", next_step="Name another"
    )
    end_with(told, Result.failure("import", ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID, str(problem), problem))
    top, imported = said(told, "Succeeded"), said(told, "Imported")
    assert (top["status"], top["reason"]) == ("False", "AdapterInvalid")
    assert top["message"] == (
        "importing the adapter: spec.adapter.source is 'pvc://models/foreign/renal': uses use_dora. Name another."
    )
    assert (imported["status"], imported["reason"]) == ("False", "AdapterInvalid")
    assert said(told, "Published")["reason"] == "Pending"
    assert not [name for name in told.cluster.names("Job") if "assess" in name]


def test_a_server_that_does_not_answer_is_asked_again() -> None:
    told = story({"source": "s3://hospital/renal"})
    lost = Result.failure("import", ExitCode.COMMUNICATION, Reason.SOURCE_UNREACHABLE, "it must answer")
    end_with(told, lost)
    top = said(told, "Succeeded")
    assert (top["status"], top["reason"]) == ("False", "RetriesExhausted")
    tried = [key for key in told.cluster.created if key.kind == "Job" and "-import-" in key.name]
    assert len(tried) == 11


def test_how_many_rows_there_are_to_train_on_is_nothing_to_it() -> None:
    told = story(IN_A_CLAIM)
    told.settle()
    assert json.loads(order_of(told, "check"))["rules"] == {"trainingRows": {"level": "Off"}}


def trained(code: ExitCode, reason: Reason) -> tuple[Story, str]:
    """A run that trains and whose assessment ends so, and what it says."""
    cluster = FakeCluster()
    for manifest in (resources.base_model(), resources.run(RUNS[0])):
        cluster.put(manifest, NAMESPACE)
    for claim in ("wardrobe-store", "models", "datasets"):
        cluster.put(resources.claim(claim), NAMESPACE)
    told = Story(cluster)
    end_with(told, Result.failure("assess", code, reason, "no variant could be measured"))
    return told, said(told, "Succeeded")["message"]


def test_a_failed_assessment_says_how_it_is_tried_again_without_training() -> None:
    told, message = trained(ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY)
    run = told.cluster.objects[RUN]["status"]["run"]
    assert message == (
        "assessing: no variant could be measured. What attempt 1 has trained is kept: a run of method Import with "
        f"spec.adapter.source run://{run}/1 measures it, and nothing is trained again"
    )
    source = message.partition("spec.adapter.source ")[2].partition(" ")[0]
    assert parse_adapter_source(source) == ClaimSource("wardrobe-store", f"runs/{run}/1/adapter")


def test_what_is_no_adapter_is_not_offered_again() -> None:
    _, message = trained(ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID)
    assert message == "assessing: no variant could be measured"
