"""Numbers of attempts, how each ended and with what result: kept beside the Jobs, which anybody may delete.

The record is the ConfigMap `<run>-attempts`, owned by the run's object. An attempt stands in it before its Job is made,
so that no number is used twice; and how it ended before its Job is deleted, so that none is forgotten. Results are
annotations: the chart's policy lets nobody but the operator write these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast, get_args

from wardrobe.api import children
from wardrobe.api.meta import Manifest, Metadata
from wardrobe.api.reasons import Failure, Waiting
from wardrobe.manifests import labels
from wardrobe_contracts.base import Task
from wardrobe_contracts.exits import TERMINATION_MESSAGE_LIMIT, ExitCode
from wardrobe_contracts.result import Result

BEGUN = "Begun"
"""It may run; where it has no Job any more, somebody deleted that, or the operator died before it was made."""

GAVE_WAY = "Preempted"
"""A queue has suspended its Job, for somebody else to have its room."""

STOPS = (Waiting.SUSPENDED, Failure.DEADLINE_EXCEEDED, GAVE_WAY)
"""Its Job was ended on purpose, by a queue or by us, for the run was not to go on: nothing was lost, whatever its pods
then said of it. In the ConfigMap it is PREEMPTED, as releases before it have it, and an annotation says which."""

MARKS = {BEGUN, *(code.name for code in ExitCode)}

LOST_LIMIT = 1500
"""Bytes of what an attempt says that was lost to the infrastructure: there may be 31 for each of three stages and
STOPPED_LIMIT others, and all annotations of a record together have 256 KiB."""

STOPPED_LIMIT = 32
"""Results that are kept of attempts that we stopped, the newest: a person may suspend a run as often as he likes."""

_RESULT = f"{children.RESULT_ANNOTATION}."
_STOPPED = f"{children.STOPPED_ANNOTATION}."
_NOT_OURS = f"entry {{!r}} is {{!r}}: an attempt is written as train.2: {ExitCode.PREEMPTED.name}"


@dataclass(frozen=True)
class Record:
    """As read. `resource_version` is empty while there is none in the cluster."""

    marks: Mapping[tuple[Task, int], str] = field(default_factory=dict)
    """By task and number: BEGUN, or one of STOPS, or the name of the exit code that it ended with."""
    results: Mapping[tuple[Task, int], str] = field(default_factory=dict)
    """By task and number: what the attempt said, as it was said; a release of the operator may not understand it."""
    made: str | None = None
    """The Adapter or BaseModel that the run published, so that one that somebody deleted is not made again."""
    overdue: str | None = None
    """When its time was found to be over, which ends the run."""
    resource_version: str = ""

    def of(self, task: Task) -> dict[int, str]:
        """One task's."""
        return {number: mark for (marked, number), mark in self.marks.items() if marked == task}

    def marked(self, task: Task, number: int, mark: str) -> "Record":
        """With one attempt marked."""
        return replace(self, marks={**self.marks, (task, number): mark})

    def stopped(self, task: Task, number: int) -> bool:
        """Whether that attempt was ended on purpose, and neither succeeded nor failed before."""
        return self.marks.get((task, number)) in STOPS

    def came_to(self, task: Task, number: int, code: ExitCode) -> "Record":
        """With the class of one attempt's end; of one that we stopped only where it was done or had failed."""
        return self if self.stopped(task, number) and code.infrastructure else self.marked(task, number, code.name)

    def ended(self, task: Task, number: int, result: Result) -> "Record":
        """With what one attempt came to."""
        known = self.came_to(task, number, result.exit_code)
        text = result.termination_message(LOST_LIMIT if result.exit_code.infrastructure else TERMINATION_MESSAGE_LIMIT)
        results = {**self.results, (task, number): text}
        stopped = sorted((attempt for attempt in results if known.stopped(*attempt)), key=lambda attempt: attempt[1])
        dropped = set(stopped[:-STOPPED_LIMIT])
        return replace(known, results={key: found for key, found in results.items() if key not in dropped})

    def published(self, name: str) -> "Record":
        """With what the run made."""
        return replace(self, made=name)

    def over(self, now: str) -> "Record":
        """With the run's end, for its time is over."""
        return self if self.overdue else replace(self, overdue=now)

    def begun_at(self, task: Task, number: int) -> int:
        """The attempt whose work `number` does: its own, unless one before it did it and only the result is lost.

        A training attempt has a folder of its own; one that merely asks again must look where the work was done, as
        must the next, where that one was lost or stopped.
        """
        done = (before for before, mark in self.of(task).items() if mark == ExitCode.SUCCEEDED.name)
        return min([number, *done])


def record_name(run: str) -> str:
    """Name of the run's ConfigMap."""
    return f"{run}-attempts"


def entry(task: Task, number: int) -> str:
    """Under which the record has an attempt."""
    return f"{task}.{number}"


def record_manifest(run: str, owner_kind: str, owner: Metadata, record: Record) -> Manifest:
    """The ConfigMap; it goes with its owner. Carries the resourceVersion that it was read at."""
    metadata: Manifest = {
        "name": record_name(run),
        "namespace": owner.namespace,
        "labels": {**labels.of_owner(owner_kind, owner), children.RUN_LABEL: run},
        "ownerReferences": [labels.owner_reference(owner_kind, owner)],
    }
    annotations = {f"{_RESULT}{entry(*attempt)}": text for attempt, text in sorted(record.results.items())}
    stops = {entry(*attempt): mark for attempt, mark in sorted(record.marks.items()) if mark in STOPS}
    annotations |= {f"{_STOPPED}{name}": mark for name, mark in stops.items()}
    if record.made:
        annotations[children.ADAPTER_ANNOTATION] = record.made
    if record.overdue:
        annotations[children.OVERDUE_ANNOTATION] = record.overdue
    if annotations:
        metadata["annotations"] = annotations
    if record.resource_version:
        metadata["resourceVersion"] = record.resource_version
    data = {entry(*attempt): mark for attempt, mark in sorted(record.marks.items())}
    data |= dict.fromkeys(stops, ExitCode.PREEMPTED.name)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def read_record(manifest: Manifest | None) -> Record:
    """The record as read; a run without one has begun nothing. Raises ValueError on what we did not write."""
    if manifest is None:
        return Record()
    metadata = manifest["metadata"]
    annotations: dict[str, str] = metadata.get("annotations", {})
    texts = {name.removeprefix(_RESULT): text for name, text in annotations.items() if name.startswith(_RESULT)}
    results = {_attempt(name, "a result"): text for name, text in texts.items()}  # texts stay out of messages
    return Record(
        marks=dict(_mark(name, mark, annotations) for name, mark in manifest.get("data", {}).items()),
        results=results,
        made=annotations.get(children.ADAPTER_ANNOTATION),
        overdue=annotations.get(children.OVERDUE_ANNOTATION),
        resource_version=metadata["resourceVersion"],
    )


def _mark(name: str, mark: str, annotations: Mapping[str, str]) -> tuple[tuple[Task, int], str]:
    if mark not in MARKS:
        raise ValueError(_NOT_OURS.format(name, mark))
    stop = annotations.get(f"{_STOPPED}{name}")
    return _attempt(name, mark), stop if stop in STOPS and mark == ExitCode.PREEMPTED.name else mark


def _attempt(name: str, value: str) -> tuple[Task, int]:
    task, _, number = name.partition(".")
    if task not in get_args(Task) or not number.isdecimal():
        raise ValueError(_NOT_OURS.format(name, value))
    return cast("Task", task), int(number)
