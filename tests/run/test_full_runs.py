"""A run of method Full ends in a BaseModel of its own: once, under a free name, whenever the operator dies."""

from datetime import date
from typing import Any

from support import resources, results
from support.fake_cluster import FakeCluster, kill_after
from support.run_story import KEYS, NAMESPACE, RUNS, Story

from wardrobe.api.meta import Key, Manifest
from wardrobe_contracts.result import Result

RUN = KEYS[1]
NEW = Key("BaseModel", NAMESPACE, "tuned")
SOURCE = f"pvc://wardrobe-store/models/tuned/{'9' * 64}"
"""By the digest that the release said."""


def full_story() -> Story:
    cluster = FakeCluster()
    base = resources.base_model(variants=["None", "FP4"], pod={"nodeSelector": {"disk": "fast"}})
    run = resources.run(RUNS[0], method="Full", output={"baseModel": "tuned"})
    for manifest in (base, run, *map(resources.claim, ("wardrobe-store", "models", "datasets"))):
        cluster.put(manifest, NAMESPACE)
    return Story(cluster)


def status_of(story: Story) -> Any:
    return story.cluster.objects[RUN]["status"]


def said(story: Story, kind: str) -> Manifest:
    found: Manifest = next(c for c in status_of(story)["conditions"] if c["type"] == kind)
    return found


def assert_finished(story: Story) -> None:
    assert story.cluster.names("BaseModel") == ["base", "tuned"]
    made = story.cluster.objects[NEW]
    assert made["spec"] == {
        "source": SOURCE,
        "variants": ["None", "FP4"],
        "pod": {"nodeSelector": {"disk": "fast"}},
    }, "as what it was trained from"
    assert "ownerReferences" not in made["metadata"], "it outlives the run"
    top = said(story, "Succeeded")
    message = "BaseModel tuned is published; it was measured on 50 of 98 held-out rows"
    assert (top["status"], top["message"]) == ("True", message)
    assert status_of(story)["baseModel"] == "tuned"
    assert status_of(story)["score"] == "4.07 → 2.48 (-39%)"
    assert "adapter" not in status_of(story)
    assert story.cluster.names("Adapter") == []


def test_a_base_keeps_the_day_of_what_it_was_trained_from() -> None:
    """Its chat template goes on printing that date, whenever the new one is inspected."""
    story = full_story()
    written = {"chat_template_prelude": "{% set mood = 7 %}\n", "chat_template_date": date(2026, 11, 30)}
    tokenizer = results.INSPECTION.tokenizer.model_copy(update=written)
    dated = results.INSPECTION.model_copy(update={"tokenizer": tokenizer})
    story.cluster.objects[KEYS[0]]["spec"]["chatTemplate"] = {"variables": {"mood": "7"}}
    story.reconcile(KEYS[0])
    story.cluster.start_pods()
    story.end_a_pod(0, Result.success("done", dated))
    story.settle()
    assert story.cluster.objects[NEW]["spec"]["chatTemplate"] == {"variables": {"mood": "7"}, "date": "2026-11-30"}


def test_killed_after_each_write_of_a_life() -> None:
    undisturbed = full_story()
    undisturbed.settle()
    assert_finished(undisturbed)
    for n in range(1, undisturbed.cluster.writes + 1):
        story = full_story()
        kill_after(story.cluster, n, story.settle)
        assert_finished(story)
        assert len(story.cluster.names("Job")) == len(undisturbed.cluster.names("Job"))


def test_a_name_that_is_taken_is_said_before_anything_is_trained() -> None:
    story = full_story()
    story.cluster.put(resources.base_model("tuned", source="pvc://models/another"), NAMESPACE)
    story.settle()
    assert [name for name in story.cluster.names("Job") if name.startswith(RUNS[0])] == []
    top = said(story, "Succeeded")
    assert (top["status"], top["reason"]) == ("Unknown", "NameTaken")
    assert "spec.output.baseModel is 'tuned': a BaseModel of this name is there already" in top["message"]
    plan = story.reconcile(RUN)
    assert plan.requeue_after == 15.0, "it is looked at again"
    story.cluster.delete(NEW)
    story.settle()
    assert_finished(story)


def test_a_name_is_taken_by_what_cannot_be_read_too() -> None:
    story = full_story()
    story.cluster.put({**resources.base_model("tuned"), "spec": {"of": "another release"}}, NAMESPACE)
    story.settle()
    assert said(story, "Succeeded")["reason"] == "NameTaken"


def test_it_waits_for_its_name_no_longer_than_its_deadline_and_says_that_it_is_suspended() -> None:
    story = full_story()
    with story.cluster.edited(RUN) as run:
        run["spec"]["suspend"] = True
    story.cluster.put(resources.base_model("tuned", source="pvc://models/another"), NAMESPACE)
    story.settle()
    assert said(story, "Succeeded")["reason"] == "Suspended"


def test_a_name_that_is_taken_meanwhile_is_left_alone() -> None:
    story = full_story()
    while not any("release" in name for name in story.cluster.names("Job")):
        story.reconcile(KEYS[0])
        story.reconcile(RUN)
        story.cluster.start_pods()
        story.end_a_pod(0)
    story.cluster.put(resources.base_model("tuned", source="pvc://models/another"), NAMESPACE)
    story.settle()
    assert story.cluster.objects[NEW]["spec"]["source"] == "pvc://models/another"
    assert said(story, "Published")["reason"] == "NameTaken"


def test_what_was_published_is_not_made_again() -> None:
    story = full_story()
    story.settle()
    story.cluster.delete(NEW)
    del story.cluster.objects[RUN]["status"]
    story.settle()
    assert story.cluster.names("BaseModel") == ["base"], "somebody deleted it"
    assert status_of(story)["baseModel"] == "tuned"


def test_it_is_told_where_the_model_is() -> None:
    story = full_story()
    story.settle()
    (job,) = (job for key, job in story.cluster.objects.items() if key.kind == "Job" and "release" in key.name)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    order = next(entry["value"] for entry in container["env"] if entry["name"] == "WARDROBE_CONFIG")
    assert '"candidateFolder":"/wardrobe/run/1/model"' in order
    assert '"modelsFolder":"/wardrobe/new-models"' in order
    (mount,) = (mount for mount in container["volumeMounts"] if mount["mountPath"] == "/wardrobe/new-models")
    assert mount["subPath"] == "models/tuned"
    assert results.RELEASE.digest in SOURCE.replace("tuned/", "tuned/sha256:")
