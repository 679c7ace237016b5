"""All attempts of a run: the Jobs and pods that are its own, by the owner's uid, and what the record knows besides."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Generic, TypeVar, cast

from wardrobe.api.children import controlled_by
from wardrobe.api.meta import Key, Manifest, Metadata
from wardrobe.writes import DropEntry, Write, create_or_replace
from wardrobe_contracts.base import Task, TaskPayload
from wardrobe_contracts.exits import ExitCode

from . import attempt, endings
from .attempt import Attempt, Ended, Lost, Pending
from .record import BEGUN, GAVE_WAY, STOPS, Record, entry, record_manifest, record_name
from .stage import Stage

P = TypeVar("P", bound=TaskPayload)


@dataclass(frozen=True)
class Owner:
    """Whose run it is, and the stages that are Jobs, in their order."""

    kind: str
    metadata: Metadata
    run: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Success(Generic[P]):
    """What a stage found or made, and the number of the attempt that said so."""

    payload: P
    number: int


@dataclass(frozen=True)
class Attempts:
    """Everything of one run at one moment."""

    owner: Owner
    now: str
    """As the API writes times."""
    there: tuple[Attempt, ...] = ()
    """Those that have a Job."""
    strays: tuple[Manifest, ...] = ()
    """Pods of Jobs that are gone."""
    record: Record = field(default_factory=Record)

    def newest(self, task: Task) -> Attempt | None:
        """The newest attempt of a task, whether its Job is there or only the record knows of it."""
        there = {found.number: found for found in self.there if found.task == task}
        recorded = self.record.of(task)
        number = max((*there, *recorded), default=None)
        if number is None or number in there:
            return there[number] if number else None
        return self._recorded(task, number)

    def _recorded(self, task: Task, number: int) -> Attempt:
        return self._of_record[task, number]

    @cached_property
    def _of_record(self) -> Mapping[tuple[Task, int], Attempt]:
        """Those whose Job is gone. What they have said is read once, however often it is asked for."""
        there = {(found.task, found.number) for found in self.there}
        namespace, run = self.owner.metadata.namespace, self.owner.run
        return {
            (task, number): attempt.of_record(
                task, number, Key("Job", namespace, job_name(run, task, number)), self.record
            )
            for task, number in self.record.marks.keys() - there
        }

    def success(self, kind: type[P]) -> Success[P] | None:
        """What the stage with such a payload found or made, where its newest attempt did."""
        for stage in self.owner.stages:
            newest = self.newest(stage.task)
            payload = newest.state.result.payload if newest and isinstance(newest.state, Ended) else None
            if newest and isinstance(payload, kind):
                return Success(payload, newest.number)
        return None

    def found(self, kind: type[P]) -> Success[P]:
        """The same, for whoever is due only once it is there."""
        success = self.success(kind)
        assert success is not None  # noqa: S101  the stage before is over
        return success

    def ended(self, task: Task) -> dict[int, Ended]:
        """How attempts of a task ended, by their numbers; those that are known of and have not are left out."""
        there = {found.number: found for found in self.there if found.task == task}
        numbers = sorted({*there, *self.record.of(task)})
        found = {number: there.get(number) or self._recorded(task, number) for number in numbers}
        return {number: one.state for number, one in found.items() if isinstance(one.state, Ended)}

    def stopped(self, task: Task) -> set[int]:
        """Numbers of the attempts that we stopped; none of them was lost."""
        known = self.known()
        return {number for number in known.of(task) if known.stopped(task, number)}

    def waits(self) -> bool:
        """Whether Jobs and pods alone say that nothing is to be made: the first attempt of the stage that is due."""
        for stage in self.owner.stages:
            newest = self.newest(stage.task)
            if newest is None or newest.deleting or newest.number > 1:
                return False
            if not isinstance(newest.state, Ended) or not newest.state.result.succeeded:
                return isinstance(newest.state, Pending)
        return False

    def known(self) -> Record:
        """The record with what Jobs and pods say; any write that carries the run on comes with it."""
        return reduce(_with_job, self.there, self.record)

    def given_up(self) -> list[Attempt]:
        """Attempts that have ended, or have others after them, and whose Jobs could still start pods."""
        newest: dict[Task, int] = {}
        for found in self.there:
            newest[found.task] = max(found.number, newest.get(found.task, 0))
        return [
            found
            for found in self.there
            if found.could_start and (isinstance(found.state, Ended) or found.number < newest[found.task])
        ]

    def occupied(self) -> tuple[str, float | None] | None:
        """What of this run may still run, in words, and when to look again; None where nothing does."""
        pods = [*self.strays, *(pod for found in self.there for pod in found.pods)]
        for pod in pods:
            if endings.living(pod, self.now):
                return f"pod {pod['metadata']['name']}", endings.given_up_in(pod, self.now)
        leaving = (found for found in self.there if found.could_start or (found.deleting and not found.pods))
        busy = (f"Job {found.key.name}" for found in leaving)
        return next(((name, None) for name in busy), None)

    def put(self, record: Record) -> tuple[Write, ...]:
        """The write that makes the record so, if it is not; refused where somebody else wrote meanwhile."""
        if record == self.record:
            return ()
        manifest = record_manifest(self.owner.run, self.owner.kind, self.owner.metadata, record)
        return (create_or_replace(manifest),)

    def unmark(self, task: Task, number: int) -> DropEntry:
        """The write that takes one attempt out of the record."""
        name = record_name(self.owner.run)
        return DropEntry(Key("ConfigMap", self.owner.metadata.namespace, name), entry(task, number))


def job_name(run: str, task: Task, number: int) -> str:
    """Name of an attempt's Job. It cannot be changed, as labels can."""
    return f"{run}-{task}-{number}"


def see(
    owner: Owner,
    jobs: list[Manifest],
    pods: list[Manifest],
    record: Record,
    now: str,
    *,
    workloads: Sequence[Manifest] = (),
) -> Attempts:
    """What of these is the run's: a Job whose controller is the owner, and a pod or Workload whose controller is that
    Job."""
    stages = {stage.task: stage for stage in owner.stages}
    named = re.compile(rf"{re.escape(owner.run)}-({'|'.join(stages)})-([1-9][0-9]{{0,8}})")
    pods = sorted(pods, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]))
    there = []
    for job in jobs:
        match = named.fullmatch(job["metadata"]["name"])
        if match and controlled_by(job, owner.metadata.uid):
            owned = tuple(pod for pod in pods if controlled_by(pod, job["metadata"]["uid"]))
            stage = stages[cast("Task", match[1])]
            number = int(match[2])
            recorded = record.results.get((stage.task, number))
            there.append(attempt.of_job(stage, number, job, owned, now, recorded=recorded, workloads=workloads))
    return Attempts(owner, now, tuple(there), tuple(pod for pod in pods if _stray(pod, jobs)), record)


def _stray(pod: Manifest, jobs: list[Manifest]) -> bool:
    """Whether the pod belonged to a Job that is no more."""
    references = pod["metadata"].get("ownerReferences", [])
    made_by = [found["uid"] for found in references if found.get("controller") and found.get("kind") == "Job"]
    return bool(made_by) and not any(controlled_by(pod, job["metadata"]["uid"]) for job in jobs)


def _with_job(record: Record, found: Attempt) -> Record:
    if isinstance(found.state, Ended) and found.gave_way:
        record = record.marked(found.task, found.number, GAVE_WAY)
    if isinstance(found.state, Ended) and not found.state.recorded:
        return record.ended(found.task, found.number, found.state.result)
    if isinstance(found.state, Ended):
        return record.came_to(found.task, found.number, found.state.result.exit_code)
    if isinstance(found.state, Lost):
        return record.marked(found.task, found.number, ExitCode.SUCCEEDED.name)
    mark = record.marks.get((found.task, found.number), BEGUN)
    goes_on = mark in STOPS and not found.deleting  # the operator died before it deleted the Job
    return record.marked(found.task, found.number, BEGUN if goes_on else mark)
