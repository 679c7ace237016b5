"""Whether a run is tracked, and where, is said by what its tasks say of it, and stops nothing."""

from typing import Any

import pytest
from support import resources, results
from support.run_story import KEYS, NAMESPACE, Story, in_training

from wardrobe.api.finetunejob import FineTuneJobResource, ProgressStatus, TrackingProgress
from wardrobe.api.reasons import Waiting
from wardrobe.run import tracked
from wardrobe.run.progress import to_status
from wardrobe.run.tracking import tracking
from wardrobe.stage.attempts import Attempts, Owner
from wardrobe.stage.record import Record
from wardrobe_contracts.base import Task
from wardrobe_contracts.result import Result
from wardrobe_contracts.tracking import Tracked, TrackingFault, TrackingReason
from wardrobe_contracts.training import Progress

NOW = "2026-01-01T00:10:00Z"
TRACKING = {"mlflow": {"uri": "http://mlflow:5000/", "experiment": "tantanila"}}
PLAIN = resources.run("heart")
METADATA = {"name": "heart", "namespace": NAMESPACE, "uid": "heart-uid"}
RUN = FineTuneJobResource.parse({**resources.run("heart", tracking=TRACKING), "metadata": METADATA})
FAULT = TrackingFault(reason=TrackingReason.UNREACHABLE, message="spec.tracking.mlflow.uri is 'x': no answer. Look.")
HAS, LACKS, NOTHING = Tracked(run_id="r1", experiment_id="3"), Tracked(run_id="r1", fault=FAULT), Tracked(fault=FAULT)
URL = "http://mlflow:5000/#/experiments/3/runs/r1"


def says(result: Result, found: Tracked | None) -> Result:
    return result.model_copy(update={"tracked": found})


def attempts(*ended: tuple[Task, Result]) -> Attempts:
    """After these have ended, each the next of its task."""
    record = Record()
    for task, result in ended:
        record = record.ended(task, len(record.of(task)) + 1, result)
    return Attempts(Owner("FineTuneJob", RUN.metadata, "heart", ()), NOW, record=record)


def pulled(found: Tracked | None) -> ProgressStatus:
    return to_status(Progress(stage="Training", tracked=found), NOW)


TRAINED, ASSESSED, LOST = results.success("train"), results.success("assess"), results.preempted("train")
ROWS: list[tuple[str, ProgressStatus | None, Attempts, bool, tuple[str, str], str, str | None]] = [
    ("nothing trains yet", None, attempts(), False, ("Unknown", "NotTrackedYet"), "it begins with training", None),
    ("it failed before", None, attempts(), True, ("Unknown", "NotTrackedYet"), "ended before training", None),
    ("an older trainer", pulled(None), attempts(), False, ("Unknown", "NotTrackedYet"), "", None),
    ("it is", pulled(HAS), attempts(), False, ("True", "Tracked"), "experiment tantanila has it as run r1", URL),
    (
        "it is no more",
        pulled(LACKS),
        attempts(),
        False,
        ("False", "TrackingUnreachable"),
        f"{FAULT.message} The run goes on; what the server lacks is sent again",
        "http://mlflow:5000/#/experiments/None/runs/r1",
    ),
    (
        "it never was",
        pulled(NOTHING),
        attempts(),
        False,
        ("False", "TrackingUnreachable"),
        FAULT.message,
        None,
    ),
    (
        "the attempt before knew where",
        pulled(NOTHING),
        attempts(("train", says(LOST, HAS))),
        False,
        ("False", "TrackingUnreachable"),
        FAULT.message,
        URL,
    ),
    (
        "the last was stopped before it knew",
        None,
        attempts(("train", says(LOST, HAS)), ("train", says(LOST, Tracked()))),
        False,
        ("True", "Tracked"),
        "run r1",
        URL,
    ),
    (
        "what runs says is newer",
        pulled(HAS),
        attempts(("train", says(LOST, NOTHING))),
        False,
        ("True", "Tracked"),
        "run r1",
        URL,
    ),
    (
        "what publishes fills it in",
        None,
        attempts(("train", says(TRAINED, NOTHING)), ("assess", says(ASSESSED, HAS))),
        True,
        ("True", "Tracked"),
        "run r1",
        URL,
    ),
    (
        "or could not, and that was the end",
        None,
        attempts(("train", says(TRAINED, HAS)), ("assess", says(ASSESSED, NOTHING))),
        True,
        ("False", "TrackingUnreachable"),
        f"{FAULT.message} Nothing is tried any more",
        URL,
    ),
]


@pytest.mark.parametrize(
    ("now", "before", "ended", "stands", "told"), [(*row[1:5], row[5:]) for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_how_tracking_stands(
    now: ProgressStatus | None,
    before: Attempts,
    ended: bool,
    stands: tuple[str, str],
    told: tuple[str, str | None],
) -> None:
    said, url = told
    fact = tracked.condition(RUN, now, before, ended=ended)
    assert fact
    assert (fact.status, fact.reason) == stands
    assert said in fact.message
    where = tracked.status(RUN, now, before)
    assert (where.mlflow.url if where else None) == url


def test_every_word_of_a_trainer_is_a_reason() -> None:
    for reason in TrackingReason:
        fault = TrackingFault(reason=reason, message="")
        fact = tracked.condition(RUN, pulled(Tracked(fault=fault)), attempts(), ended=False)
        assert fact
        assert (fact.status, fact.reason) == ("False", reason.value)
        assert fact.reason in list(Waiting)


def test_a_word_of_a_newer_trainer_is_a_failure() -> None:
    newer = TrackingProgress(reason="TrackingBored", message="No answer.")
    fact = tracked.condition(RUN, ProgressStatus(summary="", tracking=newer), attempts(), ended=False)
    assert fact
    assert (fact.status, fact.reason) == ("False", "TrackingFailed")


def of_run(story: Story, kind: str = "Tracked") -> tuple[str, str] | None:
    found = story.cluster.objects[KEYS[1]]["status"]["conditions"]
    return next(((c["status"], c["reason"]) for c in found if c["type"] == kind), None)


def status(story: Story) -> Any:
    return story.cluster.objects[KEYS[1]]["status"]


def test_a_run_that_is_tracked_says_so_to_its_end_and_its_adapter_where() -> None:
    story = in_training(tracking=TRACKING)
    story.reconcile(KEYS[1])
    assert of_run(story) == ("Unknown", "NotTrackedYet")
    status(story)["progress"] = pulled(HAS).model_dump(by_alias=True, exclude_none=True)
    story.reconcile(KEYS[1])
    assert of_run(story) == ("True", "Tracked")
    assert status(story)["tracking"]["mlflow"] == {"runId": "r1", "url": URL}
    story.end_a_pod(0, says(TRAINED, NOTHING))
    story.settle()
    assert of_run(story) == ("False", "TrackingUnreachable")
    assert of_run(story, "Succeeded") == ("True", "Succeeded")
    (adapter,) = [
        found
        for key, found in story.cluster.objects.items()
        if key.kind == "Adapter" and found["metadata"]["name"] == status(story)["adapter"]
    ]
    assert adapter["spec"]["lineage"]["tracking"]["mlflow"] == {**TRACKING["mlflow"], "runId": "r1"}


def test_who_asks_for_nothing_gets_no_condition() -> None:
    story = in_training()
    story.settle()
    assert of_run(story) is None
    assert "tracking" not in status(story)


def test_what_is_tracked_of_an_import_is_what_is_known_of_it() -> None:
    spec: dict[str, Any] = {"method": "Import", "adapter": {"source": "s3://hospital/renal"}, "tracking": TRACKING}
    run = FineTuneJobResource.parse({**resources.run("renal", **spec), "metadata": METADATA})
    told = tracking(run, resources.base_to_build_on(), results.REPORT, results.IMPORTED)
    assert told
    assert told.dataset.context == "evaluation"
    assert told.parameters["adapter.source"] == "s3://hospital/renal"
    assert told.parameters["lora.rank"] == str(results.IMPORTED.lora.rank)
    assert "learning_rate" not in told.parameters
    fact = tracked.condition(run, None, attempts(), ended=False)
    assert fact
    assert fact.message == "it begins with assessing"


def test_an_import_is_told_with_the_rows_that_it_is_measured_on() -> None:
    own = {"source": "pvc://datasets/train.jsonl", "validation": {"source": "pvc://datasets/heldout.jsonl"}}
    spec: dict[str, Any] = {"method": "Import", "adapter": {"source": "s3://hospital/renal"}, "tracking": TRACKING}
    made = resources.run("renal", **spec)
    made["spec"]["dataset"] = own
    run = FineTuneJobResource.parse({**made, "metadata": METADATA})
    report = results.REPORT.model_copy(update={"validation_digest": results.digest("6")})
    told = tracking(run, resources.base_to_build_on(), report, results.IMPORTED)
    assert told
    assert (told.dataset.source, told.dataset.digest) == ("pvc://datasets/heldout.jsonl", results.digest("6"))
    assert told.parameters["dataset.validation.digest"] == results.digest("6")
    assert "dataset.validation.fraction" not in told.parameters
