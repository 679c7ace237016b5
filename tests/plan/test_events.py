"""Which change of a status people are told by an Event."""

import pytest

from wardrobe.api.meta import Condition, ConditionStatus, Metadata, Status
from wardrobe.plan.events import transition

OWNER = Metadata(name="cardiology-v1", namespace="ward", uid="u", resource_version="7")
NOW = "2026-01-01T00:00:00Z"


def status(told: tuple[str, ConditionStatus, str] | None) -> Status:
    if told is None:
        return Status()
    kind, stands, reason = told
    mark = Condition(type=kind, status=stands, reason=reason, message="", last_transition_time=NOW)
    return Status(conditions=[mark])


ROWS: list[tuple[str, tuple[str, ConditionStatus, str] | None, tuple[str, ConditionStatus, str], bool]] = [
    ("a run that begins", None, ("Succeeded", "Unknown", "CheckingDataset"), False),
    ("a run that goes on", ("Succeeded", "Unknown", "CheckingDataset"), ("Succeeded", "Unknown", "Training"), False),
    ("what holds a run up", ("Succeeded", "Unknown", "Training"), ("Succeeded", "Unknown", "Retrying"), True),
    ("the end of a run", ("Succeeded", "Unknown", "Assessing"), ("Succeeded", "True", "Succeeded"), True),
    ("the same once more", ("Succeeded", "True", "Succeeded"), ("Succeeded", "True", "Succeeded"), False),
    ("an Adapter that fits from the beginning", None, ("Ready", "True", "Accepted"), False),
    ("one that does not", None, ("Ready", "False", "BaseModelDigestDiffers"), True),
    ("one that fits again", ("Ready", "False", "BaseModelDigestDiffers"), ("Ready", "True", "Accepted"), True),
]


@pytest.mark.parametrize(("before", "after", "told"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_an_event_tells(
    before: tuple[str, ConditionStatus, str] | None, after: tuple[str, ConditionStatus, str], told: bool
) -> None:
    event = transition("Adapter", OWNER, status(before), status(after), NOW)
    assert (event is not None) == told
    if event is not None:
        assert event["reason"] == after[2]
        assert event["involvedObject"]["uid"] == "u"


def test_what_is_told_besides_has_half_of_an_event_at_most() -> None:
    failed = status(("Succeeded", "False", "Unknown"))
    long = failed.model_copy(update={"conditions": [failed.conditions[0].model_copy(update={"message": "m" * 2000})]})
    for after, told, said in (
        (failed, "", ""),
        (failed, "rank 3, at last:\nstep 9", "\nrank 3, at last:\nstep 9"),
        (long, "", "m" * 1000),
        (long, "rank 3", "m" * 992 + "…\nrank 3"),
        (long, "x" * 900, "m" * 498 + "…\n" + "x" * 500),
    ):
        event = transition("FineTuneJob", OWNER, Status(), after, NOW, told=told)
        assert event is not None
        assert event["message"] == said
