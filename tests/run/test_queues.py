"""A run whose training Kueue holds: what it says, and when it looks again."""

from typing import Any

import pytest
from support import resources
from support.run_story import KEYS, NAMESPACE, Story, new_story

from wardrobe.api.meta import Manifest
from wardrobe.kube.client import UnavailableError
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS
from wardrobe.plan.plan import RESYNC_SECONDS

BASE, RUN, _ = KEYS


def held(*, queue: str | None = "ward") -> tuple[Story, Manifest]:
    """Its training Job is suspended, as by Kueue's webhook before any pod was made."""
    story = new_story()
    if queue:
        story.cluster.put(resources.in_queue(story.cluster.objects[RUN], queue))
    while not (jobs := training(story)):
        story.reconcile(BASE)
        story.reconcile(RUN)
        if not training(story):
            story.cluster.start_pods()
            story.end_a_pod(0)
    (job,) = jobs
    job["spec"]["suspend"] = True
    return story, job


def training(story: Story) -> list[Manifest]:
    jobs = (found for key, found in story.cluster.objects.items() if key.kind == "Job")
    return [job for job in jobs if job["metadata"]["labels"]["wardrobe.dev/task"] == "train"]


def says(story: Story) -> tuple[str, str]:
    conditions = story.cluster.objects[RUN]["status"]["conditions"]
    return next((c["reason"], c["message"]) for c in conditions if c["type"] == "Succeeded")


@pytest.mark.parametrize("workloads", [[], [("Inadmissible", "no LocalQueue ward")]], ids=["queued", "unusable"])
def test_time_in_a_queue_does_not_count(workloads: list[tuple[str, str]]) -> None:
    story, job = held()
    with story.cluster.edited(RUN) as run:
        run["spec"]["activeDeadlineSeconds"] = 3600
    for found in workloads:
        story.cluster.put(resources.workload(job, *found), NAMESPACE)
    story.reconcile(RUN)
    assert "startTime" not in story.cluster.objects[RUN]["status"]


FULL = ("Pending", "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor default")
NOWHERE = ("Inadmissible", "LocalQueue ward doesn't exist")
CHECKED = ("QuotaReserved", "Quota reserved in ClusterQueue all, waiting for admission checks")


@pytest.mark.parametrize(
    ("workloads", "reason", "words", "look_again"),
    [
        ([], "Queued", "begins when a queue such as Kueue lets it in", LOOK_AGAIN_SECONDS),
        ([FULL], "Queued", f"until Kueue lets it in through queue 'ward': {FULL[1]}", RESYNC_SECONDS),
        ([CHECKED], "Queued", "waiting for admission checks", RESYNC_SECONDS),
        ([NOWHERE], "QueueUnusable", f"{NOWHERE[1]}. The label must name a LocalQueue of", LOOK_AGAIN_SECONDS),
    ],
    ids=["nothing yet", "no room", "checks", "no such queue"],
)
def test_it_says_what_kueue_says_and_looks_again_while_that_may_be_mended(
    workloads: list[tuple[str, str]], reason: str, words: str, look_again: float
) -> None:
    story, job = held()
    for found in workloads:
        story.cluster.put(resources.workload(job, *found), NAMESPACE)
    assert story.reconcile(RUN).requeue_after == look_again
    said, message = says(story)
    assert said == reason
    assert words in message


def test_a_queue_that_is_not_there_is_said_with_label_value_rule_and_next_step() -> None:
    story, job = held()
    story.cluster.put(resources.workload(job, *NOWHERE), NAMESPACE)
    story.reconcile(RUN)
    name = job["metadata"]["name"]
    assert says(story)[1] == (
        f"training: label kueue.x-k8s.io/queue-name is 'ward', and Kueue cannot let Job {name} in: LocalQueue ward "
        "doesn't exist. The label must name a LocalQueue of namespace 'hospital', active like its ClusterQueue. Create "
        "it, or put another's name on run and Job; the run goes on by itself"
    )
    assert training(story) == [job]


def test_another_jobs_workload_is_not_believed() -> None:
    """Labels are written by anybody."""
    story, job = held()
    forged = resources.workload(job, *NOWHERE)
    forged["metadata"]["ownerReferences"][0]["uid"] = "another"
    story.cluster.put(forged, NAMESPACE)
    story.reconcile(RUN)
    assert says(story)[0] == "Queued"


def test_kueue_is_asked_only_about_jobs_that_name_a_queue_and_are_held() -> None:
    story, _ = held(queue=None)
    assert story.reconcile(RUN).requeue_after == RESYNC_SECONDS
    assert says(story)[0] == "Queued"
    story.settle()
    assert "Workload" not in {kind for kind, *_ in story.cluster.listed}


def test_without_kueue_a_suspended_job_waits_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    story, _ = held()
    known = story.cluster.list

    async def unknown(kind: str, *selection: Any, **more: Any) -> list[Manifest]:
        if kind == "Workload":
            raise UnavailableError("LIST Workload: 404 the server could not find the requested resource")
        return await known(kind, *selection, **more)

    monkeypatch.setattr(story.cluster, "list", unknown)
    story.reconcile(RUN)
    assert says(story)[0] == "Queued"


@pytest.mark.parametrize(
    ("conditions", "gave_way"),
    [
        ({"Admitted": "True"}, False),
        ({"Admitted": "True", "Evicted": "False"}, False),
        ({"Evicted": "True"}, False),
        ({"Admitted": "True", "Evicted": "True"}, True),
        ({"Admitted": "False", "Evicted": "True"}, True),
    ],
    ids=["about to begin", "let in again", "evicted before it began", "being evicted", "evicted"],
)
def test_a_job_that_gave_way_unseen_is_made_anew_though_kueue_takes_its_start_time(
    conditions: dict[str, str], gave_way: bool
) -> None:
    """Two pods must not work in the folder of one attempt."""
    story, job = held()
    story.cluster.put(resources.workload(job, *FULL, **conditions), NAMESPACE)
    story.reconcile(RUN)
    story.reconcile(RUN)
    attempts = [found["result"] for found in story.cluster.objects[RUN]["status"]["attempts"]]
    assert attempts[0] == ("PREEMPTED" if gave_way else "Running")
    assert (training(story) == [job]) is not gave_way
