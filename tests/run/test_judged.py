"""What a run's adapter is measured on and held against, and what is said of one that its gate rejected."""

from typing import Any

import pytest
from support import resources, results
from support.fake_cluster import FakeCluster
from support.run_story import KEYS, NAMESPACE, RUNS, Story

from wardrobe.api.finetunejob import FineTuneJobSpec
from wardrobe.api.meta import Key, Manifest
from wardrobe.base.ready import ReadyBase
from wardrobe.run.serving import Serving
from wardrobe.run.stages.assess import variants
from wardrobe_contracts.assessment import AssessConfig, Assessment
from wardrobe_contracts.base import Variant
from wardrobe_contracts.gate import Against, Judgement, Metric, Outcome, Verdict
from wardrobe_contracts.result import Result

RUN = KEYS[1]
INT8 = {"quantization": {"type": "INT8"}, "method": "LoRA"}


def story(*more: Manifest, base: Manifest | None = None, **spec: Any) -> Story:
    cluster = FakeCluster()
    base = {**(base or resources.base_model()), "status": resources.ready_base()}
    wanted = (base, resources.run(RUNS[0], **spec), *more)
    for manifest in (*wanted, *map(resources.claim, ("wardrobe-store", "models", "datasets"))):
        cluster.put(manifest, NAMESPACE)
    return Story(cluster)


def order_of(told: Story) -> AssessConfig:
    """Of the Job that measures."""
    told.settle()
    [variable] = [found for found in container_of(told)["env"] if found["name"] == "WARDROBE_CONFIG"]
    return AssessConfig.model_validate_json(variable["value"])


def container_of(told: Story) -> Manifest:
    job = told.cluster.objects[Key("Job", NAMESPACE, f"{run_of(told)}-assess-1")]
    [container] = job["spec"]["template"]["spec"]["containers"]
    found: Manifest = container
    return found


def run_of(told: Story) -> str:
    name: str = told.cluster.objects[RUN]["status"]["run"]
    return name


@pytest.mark.parametrize(
    ("spec", "named", "served", "wanted"),
    [
        ({}, [], [], "NF4"),
        ({"method": "LoRA"}, [], [], "None"),
        (INT8, [], [], "INT8"),
        ({}, [], ["None"], "None NF4"),
        ({}, ["INT8"], ["NF4", "FP4"], "INT8 NF4 FP4"),
        ({"evaluation": {"variants": ["FP4"]}}, ["INT8"], ["None"], "FP4"),
    ],
)
def test_what_is_measured_on(spec: Manifest, named: list[str], served: list[str], wanted: str) -> None:
    run = FineTuneJobSpec.model_validate(resources.run("heart", **spec)["spec"])
    base: ReadyBase = resources.base_to_build_on()
    known = Serving(variants=frozenset(map(Variant, served)))
    found = variants(run, replace_variants(base, named), known)
    assert " ".join(found) == wanted


def replace_variants(base: ReadyBase, named: list[str]) -> ReadyBase:
    return ReadyBase(**{**vars(base), "variants": list(map(Variant, named))})


def test_what_answers_is_what_departments_name_as_measuring_begins() -> None:
    others = resources.deployment(
        "others", {"baseModel": {"name": "another"}, "quantization": "FP4"}, x="cardiology-v9"
    )
    pointed = resources.deployment(
        ward="cardiology-v2", clinic="cardiology-v1", night="cardiology-v2", children="paediatrics-v1"
    )
    gone = resources.deployment("gone", lost="cardiology-v7", stranger="cardiology-v3")
    foreign = resources.adapter("cardiology-v3", base=results.digest("9"))
    known = [resources.adapter(f"cardiology-v{number}") for number in (1, 2, 4, 9)]
    found = order_of(story(others, pointed, gone, foreign, resources.adapter("paediatrics-v1"), *known))
    assert [(one.name, one.digest) for one in found.incumbents] == [
        (name, resources.adapter(name)["spec"]["digest"]) for name in ("cardiology-v1", "cardiology-v2")
    ]
    assert found.variants == [Variant.NF4]
    assert found.gate == []
    assert (found.scores_folder, found.max_rows) == ("/wardrobe/scores", 2000)


def test_a_lines_name_that_begins_as_another_is_another() -> None:
    pointed = resources.deployment(ward="cardiology-night-v1")
    assert order_of(story(pointed, resources.adapter("cardiology-night-v1"))).incumbents == []


def test_one_that_was_promoted_is_where_its_adapter_says() -> None:
    promoted = resources.another_version(resources.adapter("cardiology-v2"), 2, artifact={"path": "adapters/promoted"})
    told = story(promoted, resources.deployment(ward="cardiology-v2"))
    [incumbent] = order_of(told).incumbents
    assert incumbent.folder == "/wardrobe/store/adapters/promoted"
    mounts = {mount["mountPath"]: mount for mount in container_of(told)["volumeMounts"]}
    assert mounts["/wardrobe/store"]["readOnly"] is True


def test_where_nothing_answers_no_more_of_the_store_is_seen_than_is_written() -> None:
    told = story()
    assert order_of(told).incumbents == []
    assert "/wardrobe/store" not in {mount["mountPath"] for mount in container_of(told)["volumeMounts"]}


def test_one_artifact_under_two_names_is_measured_once() -> None:
    first = resources.adapter("cardiology-v1")
    again = resources.another_version(first, 2)
    found = order_of(story(first, again, resources.deployment(ward="cardiology-v1", clinic="cardiology-v2")))
    assert [one.name for one in found.incumbents] == ["cardiology-v2"]


def test_the_gate_is_handed_on() -> None:
    rules = [
        {"metric": "Loss", "against": "Base"},
        {"metric": "BodyLoss", "against": "Incumbent", "maxRegression": "0.02"},
    ]
    found = order_of(story(evaluation={"gate": rules, "maxRows": 50}))
    assert [(rule.metric, rule.against, rule.max_regression) for rule in found.gate] == [
        (Metric.LOSS, Against.BASE, 0),
        (Metric.BODY_LOSS, Against.INCUMBENT, 0.02),
    ]
    assert found.max_rows == 50


UNKNOWN = Judgement(
    metric=Metric.BODY_LOSS,
    against=Against.INCUMBENT,
    max_regression=0,
    outcome=Outcome.FAILED,
    adapter="cardiology-v1",
    message="cardiology-v1 cannot be measured: manifest.json is missing",
)


def ended_with(assessment: Assessment) -> Story:
    """A life in which the assessment comes to this."""
    told = story()
    for _ in range(20):
        told.reconcile(RUN)
        told.cluster.start_pods()
        for pod in told.cluster.answering():
            task = told.cluster.objects[pod]["metadata"]["labels"]["wardrobe.dev/task"]
            done = Result.success("done", assessment) if task == "assess" else results.success(task)
            told.cluster.end_pod(pod, done)
        told.cluster.collect_pods()
    return told


def succeeded(told: Story) -> Manifest:
    conditions = told.cluster.objects[RUN]["status"]["conditions"]
    found: Manifest = next(one for one in conditions if one["type"] == "Succeeded")
    return found


def test_a_rejected_version_is_a_version_with_its_numbers() -> None:
    judged = results.judged()
    told = ended_with(judged)
    spec = told.cluster.objects[Key("Adapter", NAMESPACE, "cardiology-v1")]["spec"]
    assert spec["verdict"] == "Rejected"
    assert spec["gate"][0] == {
        "metric": "Loss",
        "against": "Incumbent",
        "maxRegression": "0.0200",
        "outcome": "Failed",
        "variant": "NF4",
        "adapter": "cardiology-v1",
        "reference": "2.4",
        "candidate": "2.48",
        "regression": "0.033333",
        "low": "0.01",
        "high": "0.05",
    }
    assert spec["notAssessed"] == [
        {"variant": "None", "reason": "OutOfMemory", "message": "too large", "neededBytes": 7}
    ]
    [evaluation] = spec["evaluations"]
    assert evaluation["difference"] == {"low": "-1.7", "high": "-1.5", "bodyLow": "-1.7", "bodyHigh": "-1.5"}
    [incumbent] = evaluation["incumbents"]
    assert (incumbent["adapter"], incumbent["score"]["loss"]) == ("cardiology-v1", "2.4000")
    assert incumbent["difference"] == {"low": "0.03", "high": "0.13", "bodyLow": "-0.1", "bodyHigh": "0.18"}
    assert spec["lineage"]["dataset"]["evaluatedRows"] == 50
    assert told.cluster.objects[RUN]["status"]["verdict"] == "Rejected"
    top = succeeded(told)
    assert top["status"] == "True", "it is made, and nothing is lost"
    assert top["message"] == (
        "Adapter cardiology-v1 is published; its gate rejected it (Loss on NF4 is 2.48 where cardiology-v1 has 2.4: "
        f"+3.3%, and +2.0% is allowed), so that departments name it only with acceptRejected: {judged.digest}; it is "
        "not assessed on None: too large; it was measured on 50 of 98 held-out rows"
    )


def test_an_accepted_one_says_nothing_more() -> None:
    judged = results.ASSESSMENT.model_copy(update={"verdict": Verdict.ACCEPTED, "gate": [results.PASSED]})
    told = ended_with(judged)
    assert told.cluster.objects[Key("Adapter", NAMESPACE, "cardiology-v1")]["spec"]["verdict"] == "Accepted"
    assert told.cluster.objects[RUN]["status"]["verdict"] == "Accepted"
    assert succeeded(told)["message"] == "Adapter cardiology-v1 is published"


def test_a_rule_that_had_nothing_to_compare_with() -> None:
    told = ended_with(results.judged().model_copy(update={"gate": [UNKNOWN]}))
    [rule] = told.cluster.objects[Key("Adapter", NAMESPACE, "cardiology-v1")]["spec"]["gate"]
    assert rule["message"] == UNKNOWN.message
    assert "regression" not in rule
    assert f"BodyLoss against cardiology-v1: {UNKNOWN.message}" in succeeded(told)["message"]


def test_a_run_without_a_gate_has_no_verdict() -> None:
    told = ended_with(results.ASSESSMENT)
    spec = told.cluster.objects[Key("Adapter", NAMESPACE, "cardiology-v1")]["spec"]
    assert not {"verdict", "gate", "notAssessed"} & spec.keys()
    assert "verdict" not in told.cluster.objects[RUN]["status"]


def test_it_is_known_again_after_the_operator_died() -> None:
    """The Adapter is compared with what the Job said, all its numbers among it."""
    told = ended_with(results.judged())
    told.cluster.objects[RUN]["status"] = {}
    told.settle()
    assert told.cluster.names("Adapter") == ["cardiology-v1"]
    assert "cardiology-v1 is published; its gate rejected it" in succeeded(told)["message"]


def test_the_version_itself_says_so() -> None:
    told = ended_with(results.judged())
    told.settle()
    [ready] = [
        one
        for one in told.cluster.objects[Key("Adapter", NAMESPACE, "cardiology-v1")]["status"]["conditions"]
        if one["type"] == "Ready"
    ]
    assert ready["status"] == "True"
    assert ready["message"] == (
        "fits BaseModel base; its gate rejected it, and departments name it only with acceptRejected"
    )


def test_what_the_check_made_of_the_dataset_is_said() -> None:
    """Before anything is trained, and ever after."""
    told = ended_with(results.judged())
    status = told.cluster.objects[RUN]["status"]
    assert status["dataset"] == {
        "digest": results.digest("1"),
        "rows": 555,
        "trainRows": 457,
        "trainExamples": 461,
        "heldoutRows": 98,
        "heldoutShare": "0.177",
        "droppedRows": 0,
        "leftOutRows": 0,
        "truncatedRows": 3,
        "warnings": ["fewer than 500 rows to train on"],
    }
    [checked] = [one for one in status["conditions"] if one["type"] == "DatasetChecked"]
    assert checked["message"] == "457 rows to train on as 461 examples, 98 held out"
