"""Whether what was trained is saved is said while a run trains, and costs no write where nothing has changed."""

from typing import Any

import pytest
from support import resources, results
from support.run_story import KEYS, NAMESPACE, Story, in_training

from wardrobe.api.finetunejob import FineTuneJobResource, ProgressStatus
from wardrobe.run.checkpointed import checkpointed
from wardrobe.stage.attempts import Attempts, Owner
from wardrobe.stage.record import Record
from wardrobe_contracts.training import Reached

NOW = "2026-01-01T00:10:00Z"
RUN = FineTuneJobResource.parse(
    {**resources.run("heart"), "metadata": {"name": "heart", "namespace": NAMESPACE, "uid": "heart-uid"}}
)
FULL = "No space left on device"


def attempts(*saved: int) -> Attempts:
    """After attempts that were lost, and had saved so many steps."""
    record = Record()
    for number, step in enumerate(saved, 1):
        record = record.ended("train", number, results.preempted("train").having(Reached(step=step + 5, saved=step)))
    return Attempts(Owner("FineTuneJob", RUN.metadata, "heart", ()), NOW, record=record)


def says(stage: str = "Training", **more: Any) -> ProgressStatus:
    return ProgressStatus(summary="", stage=stage, **more)


ROWS: list[tuple[str, ProgressStatus | None, Attempts, tuple[str, str], str]] = [
    ("nobody has said anything", None, attempts(), ("Unknown", "NoCheckpointYet"), "every 600 s"),
    ("it loads", says("Loading"), attempts(), ("Unknown", "NoCheckpointYet"), "when a pod is told to stop"),
    ("it has saved", says(saved=400), attempts(), ("True", "Saved"), "status.progress.saved"),
    ("another one has, and this one loads", says("Loading"), attempts(0, 300), ("True", "Saved"), "step 300 is saved"),
    ("the next one waits", None, attempts(300, 300), ("True", "Saved"), "step 300 is saved"),
    (
        "the volume is full",
        says(saved=400, problem=FULL),
        attempts(300),
        ("False", "CheckpointNotWritten"),
        f"{FULL}. Training goes on, and tries again within 600 s; where it is interrupted before, it goes on from step "
        "400",
    ),
    (
        "from the first time on",
        says(saved=0, problem=FULL),
        attempts(),
        ("False", "CheckpointNotWritten"),
        "goes on from the last checkpoint, if there is any",
    ),
    (
        "the volume is full at the end",
        says("Saving", saved=400, problem=FULL),
        attempts(),
        ("False", "ResultNotWritten"),
        "It is tried every ten seconds. Free or enlarge the volume of PersistentVolumeClaim 'wardrobe-store'",
    ),
]


@pytest.mark.parametrize(
    ("pulled", "before", "stands", "said"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_what_is_saved(pulled: ProgressStatus | None, before: Attempts, stands: tuple[str, str], said: str) -> None:
    fact = checkpointed(RUN, pulled, before)
    assert (fact.status, fact.reason) == stands
    assert said in fact.message


def condition(story: Story) -> tuple[str, str] | None:
    found = story.cluster.objects[KEYS[1]]["status"]["conditions"]
    return next(((c["status"], c["reason"]) for c in found if c["type"] == "Checkpointed"), None)


def test_it_stands_beside_the_others_while_the_run_trains() -> None:
    story = in_training()
    story.reconcile(KEYS[1])
    assert condition(story) == ("Unknown", "NoCheckpointYet")
    for saved, problem, stands in (
        (4, None, ("True", "Saved")),
        (4, FULL, ("False", "CheckpointNotWritten")),
        (12, None, ("True", "Saved")),
    ):
        told(story, saved=saved, problem=problem)
        story.reconcile(KEYS[1])
        assert condition(story) == stands
    writes = story.cluster.writes
    told(story, saved=16)
    story.reconcile(KEYS[1])
    assert story.cluster.writes == writes, "a further checkpoint costs no write"
    story.settle()
    assert condition(story) is None
    assert story.cluster.objects[KEYS[1]]["status"]["progress"] == {"summary": "done"}


def told(story: Story, **progress: Any) -> None:
    """As the poller writes it."""
    story.cluster.objects[KEYS[1]]["status"]["progress"] = {"summary": "", "stage": "Training", **progress}
