"""FineTuneJob: check, train, assess, then one Adapter under the line's next number."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from wardrobe.api import basemodel
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.children import ADAPTER_ANNOTATION, BASE_DIGEST_ANNOTATION
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import Key, Manifest
from wardrobe.api.reasons import ConditionType, Waiting
from wardrobe.api.sources import ConfigMapSource, parse_claim, parse_source
from wardrobe.resources import run_jobs
from wardrobe.resources.adapter import adapter_manifest, adapter_name
from wardrobe.resources.line import line_manifest
from wardrobe.settings import Settings
from wardrobe_contracts import paths
from wardrobe_contracts.base import Digest
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result, Task
from wardrobe_contracts.training import PROGRESS_PORT

from . import lines, tasks
from .bases import ready_digest
from .lines import Line
from .needs import LOOK_AGAIN_SECONDS, Missing, Need
from .plan import RESYNC_SECONDS, Annotate, Create, Plan, Replace, Write
from .run_status import Reached, Stage, status
from .tasks import Ended, Pending, Step, TaskView

T = TypeVar("T")

WAITS_ON_BASE = {Waiting.BASE_MODEL_NOT_FOUND, Waiting.BASE_MODEL_NOT_READY}
"""A base wakes who waits for it; it is looked at again as well, in case it came between two looks."""


@dataclass(frozen=True)
class Existing:
    """An Adapter of the line."""

    name: str
    version: int
    run_uid: str | None
    """uid of the run that made it; None for an import."""


@dataclass(frozen=True)
class Tasks:
    """The newest Job of each task."""

    check: TaskView | None = None
    train: TaskView | None = None
    assess: TaskView | None = None

    def all(self) -> tuple[TaskView | None, ...]:
        """In the order of the run."""
        return (self.check, self.train, self.assess)

    def of(self, task: Task) -> TaskView | None:
        """The newest Job of one task."""
        return next((view for view in self.all() if view and view.task == task), None)


@dataclass(frozen=True)
class Seen:
    """What was observed. `line` and `adapters` only where `wants_number` asked for them."""

    base: BaseModelResource | None
    tasks: Tasks
    missing: Missing | None = None
    line: Line | None = None
    adapters: tuple[Existing, ...] = ()


def finished(run: FineTuneJobResource) -> bool:
    """Whether the status says that the run has ended; its spec cannot change, so nothing else can."""
    top = run.status.condition(ConditionType.SUCCEEDED)
    return top is not None and top.status != "Unknown" and run.status.observed_generation == run.metadata.generation


def tidy(run: FineTuneJobResource, line: Line) -> Plan:
    """After the status names the Adapter, the run's claim on the number is dropped."""
    if run.metadata.uid not in line.claims:
        return Plan()
    return Plan(writes=(Replace(line_manifest(lines.drop(line, run.metadata.uid), run.metadata.namespace)),))


def needs(run: FineTuneJobResource, base: BaseModelResource | None, seen: Tasks) -> list[Need]:
    """What the run's pods will mount; asked for before the first of them is made."""
    if base is None or seen.check is not None:
        return []
    return [
        Need.claim("the namespace's store", paths.STORE_CLAIM, "Wardrobe keeps runs and adapters in it"),
        Need.claim("the BaseModel's spec.source", parse_claim(base.spec.source).claim, "it holds the model's files"),
        _dataset_need(run),
    ]


def wants_base(seen: Tasks) -> bool:
    """Whether the next decision makes something that names the base."""
    return any(_next_job(seen)) or wants_number(seen)


def wants_number(seen: Tasks) -> bool:
    """Whether the run has something to publish and has not said under which name it did."""
    return _succeeded(seen.assess) is not None and _made(seen.assess) is None


def decide(run: FineTuneJobResource, seen: Seen, settings: Settings, now: str) -> Plan:
    """What a FineTuneJob asks for now."""
    reached, writes = _reach(run, seen, settings, now)
    recordings = tuple(write for view in seen.tasks.all() for write in tasks.record(view))
    return Plan(
        status=status(run, reached, now),
        writes=(*recordings, *writes),
        requeue_after=_look_again(reached, seen),
        waits_on=_waits_on(run, reached),
        progress_url=_progress_url(reached),
    )


def _reach(run: FineTuneJobResource, seen: Seen, settings: Settings, now: str) -> tuple[Reached, tuple[Write, ...]]:
    """Walk the stages; the first that has not succeeded is where the run is."""
    attempts = seen.tasks.train.number if seen.tasks.train else 0
    step = partial(_step, run, seen, now)
    check = step("check", partial(_check_job, run, seen, settings))
    report = _result(check).check
    if report is None:
        return Reached(Stage.CHECK, check.state, attempts), check.writes
    train = step("train", partial(_train_job, run, seen, settings))
    if _result(train).training is None:
        return Reached(Stage.TRAIN, train.state, attempts, report), train.writes
    assess = step("assess", partial(_assess_job, run, seen, settings))
    assessment = _result(assess).assessment
    if assessment is None:
        return Reached(Stage.ASSESS, assess.state, attempts, report), assess.writes
    name, writes = _publish(run, seen)
    if name is None:
        return Reached(Stage.ASSESS, _blocked(run, seen, "assess"), attempts, report, assessment), ()
    return Reached(Stage.DONE, None, attempts, report, assessment, name), writes


def _step(run: FineTuneJobResource, seen: Seen, now: str, task: Task, build: Callable[[int], Manifest]) -> Step:
    view = seen.tasks.of(task)
    if tasks.wants_job(view) and (blocked := _blocked(run, seen, task)):
        return Step(blocked)
    return tasks.advance(view, build, now)


_NOTHING = Result(task="check", exit_code=ExitCode.UNKNOWN, reason=Reason.UNKNOWN, message="")


def _result(step: Step) -> Result:
    """The step's result where it succeeded, otherwise one without any payload."""
    done = isinstance(step.state, Ended) and step.state.result.succeeded
    return step.state.result if isinstance(step.state, Ended) and done else _NOTHING


def _blocked(run: FineTuneJobResource, seen: Seen, task: Task) -> Pending | Ended | None:
    """Why the next Job cannot be made now, if so."""
    name = run.spec.base_model.name
    digest = ready_digest(seen.base, name)
    if isinstance(digest, Missing):
        return Pending(digest.reason, digest.message)
    if _other_base(seen.tasks, digest):
        message = f"BaseModel {name} now has other files than the run began with. Create a new FineTuneJob"
        changed = Result(task=task, exit_code=ExitCode.BAD_BASE, reason=Reason.BASE_CHANGED, message=message)
        return Ended(changed, recorded=True)
    return Pending(seen.missing.reason, seen.missing.message) if seen.missing else None


def _other_base(seen: Tasks, digest: Digest) -> bool:
    made_for = {view.job["metadata"].get("annotations", {}).get(BASE_DIGEST_ANNOTATION) for view in seen.all() if view}
    return bool(made_for - {digest, None})


def _ready_base(seen: Seen) -> BaseModelResource:
    """The base, where `_blocked` found nothing."""
    if seen.base is None:
        raise ValueError("Jobs are made only where the BaseModel is there")
    return seen.base


def _check_job(run: FineTuneJobResource, seen: Seen, settings: Settings, number: int) -> Manifest:
    return run_jobs.check_job(run, _ready_base(seen), number, settings)


def _train_job(run: FineTuneJobResource, seen: Seen, settings: Settings, number: int) -> Manifest:
    report = _must(_must(_succeeded(seen.tasks.check)).check)
    return run_jobs.train_job(run, _ready_base(seen), report, number, settings)


def _assess_job(run: FineTuneJobResource, seen: Seen, settings: Settings, number: int) -> Manifest:
    report = _must(_must(_succeeded(seen.tasks.check)).check)
    summary = _must(_must(_succeeded(seen.tasks.train)).training)
    attempt = _must(seen.tasks.train).number
    return run_jobs.assess_job(run, _ready_base(seen), report, (attempt, summary), number, settings=settings)


def _publish(run: FineTuneJobResource, seen: Seen) -> tuple[str | None, tuple[Write, ...]]:
    """The Adapter's name, and the writes that make it; no name while the base that it must name is not there."""
    if made := _made(seen.tasks.assess):
        return made, ()
    said = partial(_say_made, _must(seen.tasks.assess))
    mine = next((found.name for found in seen.adapters if found.run_uid == run.metadata.uid), None)
    if mine:
        return mine, (said(mine),)
    if _blocked(run, seen, "assess"):
        return None, ()
    line = _must(seen.line)
    claimed = lines.claim(line, run.metadata.uid, (found.version for found in seen.adapters))
    version = claimed.claims[run.metadata.uid]
    name = adapter_name(line.name, version)
    return name, (*_put(line, claimed, run.metadata.namespace), Create(_adapter(run, seen, version)), said(name))


def _say_made(assess: TaskView, name: str) -> Write:
    return Annotate(assess.key, {ADAPTER_ANNOTATION: name})


def _put(before: Line, after: Line, namespace: str) -> tuple[Write, ...]:
    if before == after:
        return ()
    manifest = line_manifest(after, namespace)
    return (Replace(manifest) if before.resource_version else Create(manifest),)


def _adapter(run: FineTuneJobResource, seen: Seen, version: int) -> Manifest:
    outcome = (
        _must(_must(_succeeded(seen.tasks.check)).check),
        _must(_must(_succeeded(seen.tasks.train)).training),
        _must(_must(_succeeded(seen.tasks.assess)).assessment),
    )
    return adapter_manifest(run, _ready_base(seen), outcome, version)


def _succeeded(view: TaskView | None) -> Result | None:
    if view is None:
        return None
    now = tasks.state(view)
    return now.result if isinstance(now, Ended) and now.result.succeeded else None


def _made(assess: TaskView | None) -> str | None:
    return assess.job["metadata"].get("annotations", {}).get(ADAPTER_ANNOTATION) if assess else None


def _next_job(seen: Tasks) -> list[bool]:
    """For each task whose turn it is, whether its Job is to be made."""
    turn = [True, _succeeded(seen.check) is not None, _succeeded(seen.train) is not None]
    return [due and tasks.wants_job(view) for due, view in zip(turn, seen.all(), strict=True)]


def _dataset_need(run: FineTuneJobResource) -> Need:
    source = parse_source(run.spec.dataset.source)
    if isinstance(source, ConfigMapSource):
        return Need.config_map("spec.dataset.source", source.name, source.key)
    return Need.claim("spec.dataset.source", source.claim, "it holds the dataset")


def _look_again(reached: Reached, seen: Seen) -> float | None:
    if reached.stage is Stage.DONE:
        return 0.0  # the status names the Adapter now; `tidy` is next
    if not isinstance(reached.state, Pending):
        return None
    waits = seen.missing is not None or reached.state.reason in WAITS_ON_BASE
    return reached.state.look_again or (LOOK_AGAIN_SECONDS if waits else RESYNC_SECONDS)


def _waits_on(run: FineTuneJobResource, reached: Reached) -> frozenset[Key]:
    """The base, while it is what is missing; afterwards nothing that happens to it concerns the run."""
    reason = reached.state.reason if isinstance(reached.state, Pending) else None
    if reason not in WAITS_ON_BASE:
        return frozenset()
    return frozenset({Key(basemodel.KIND, run.metadata.namespace, run.spec.base_model.name)})


def _progress_url(reached: Reached) -> str | None:
    address = reached.state.pod_ip if isinstance(reached.state, Pending) else None
    if reached.stage is not Stage.TRAIN or not address:
        return None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{PROGRESS_PORT}/progress"


def _must(value: T | None) -> T:
    if value is None:
        raise ValueError("an earlier step's result is there, or this step would not be reached")
    return value
