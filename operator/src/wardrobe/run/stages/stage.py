"""What a stage of a run is, and the common part of those that are Jobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from wardrobe.api import adapter, finetunejob
from wardrobe.api.children import BASE_DIGEST_ANNOTATION, QUEUE_LABELS
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import Manifest
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase, ready_base
from wardrobe.manifests import volumes
from wardrobe.manifests.pods import accelerated
from wardrobe.manifests.volumes import Mount
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS, Missing
from wardrobe.run.seen import Seen
from wardrobe.settings import Settings
from wardrobe.stage import job
from wardrobe.stage.advance import JobStep, Step, Turn, take, turn
from wardrobe.stage.attempt import Ended, Pending
from wardrobe.stage.attempts import Attempts
from wardrobe.stage.job import FromSecret, TaskJob
from wardrobe.stage.stage import Retries, Stage
from wardrobe_contracts.base import Accelerator, Order, Task, TaskPayload
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result

P = TypeVar("P", bound=TaskPayload)


@dataclass(frozen=True)
class Work:
    """What a Job's program is told, and what its pods have besides base and run."""

    order: Order
    mounts: tuple[Mount, ...] = ()
    accelerators: int = 1
    """Of each pod, where the run computes on accelerators."""
    pods: int = 1
    grace_seconds: int = 60
    """From being told to stop until it is killed."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Small ones, by name, in the attempt's own ConfigMap."""
    credentials: FromSecret | None = None


@dataclass(frozen=True)
class Words:
    """How a stage is said."""

    condition: ConditionType
    doing: str
    done: Done
    running: Waiting = Waiting.RUNNING
    """Reason of the run's own condition while the stage's Job runs."""


@dataclass(frozen=True)
class Wants:
    """What has to be observed before a stage is decided on."""

    base: bool = False
    numbering: bool = False
    name: bool = False
    """Whether the name of what method Full makes is free."""
    serving: bool = False
    """What answers on the base."""


@dataclass(frozen=True)
class Published:
    """The end of a run."""

    name: str
    kind: str = adapter.KIND


RunStep = Step[Pending | Ended | Published]


class RunStage(Protocol):
    """A run is at the first of its stages that is not over. Only that one is asked for what it wants and does."""

    @property
    def words(self) -> Words:
        """How it is said."""

    @property
    def reports_progress(self) -> bool:
        """Whether its pod answers on a port how far it is."""

    def is_over(self, run: FineTuneJobResource, attempts: Attempts) -> bool:
        """Whether the next one may begin: by what Jobs found or made, or by what can be computed from that."""

    def wants(self, run: FineTuneJobResource, attempts: Attempts) -> Wants:
        """What it has to know."""

    def step(self, run: FineTuneJobResource, seen: Seen, settings: Settings) -> RunStep:
        """What it does now."""

    def message(self, attempts: Attempts) -> str:
        """What it came to. Asked for once it is over."""


@dataclass(frozen=True)
class JobStage(Stage, Generic[P]):
    """A stage that is a Job."""

    brings: type[P]
    """What its result is read as."""
    words: Words
    work: Callable[[FineTuneJobResource, Seen, ReadyBase, int], Work]
    """What attempt n (from 1) is given."""
    came_to: Callable[[P, int], str] | None = None
    """Its result, which attempt n brought, in words; None where a later stage tells the condition."""
    resources: Manifest | None = None
    """What its pods ask for; None for what the person gave."""
    restarts_failures: bool = False
    """Whether the person may want it tried again where it failed by itself."""
    asks_what_serves: bool = False
    """Whether its work depends on what answers on the base."""

    def is_over(self, run: FineTuneJobResource, attempts: Attempts) -> bool:
        """Once its newest attempt has brought what it is for."""
        return attempts.success(self.brings) is not None

    def wants(self, run: FineTuneJobResource, attempts: Attempts) -> Wants:
        """The base, where a Job is to be made, and a free name for another."""
        due = isinstance(turn(attempts, self, self._retries(run)), Turn)
        name = due and run.spec.output.base_model is not None
        return Wants(base=due, name=name, serving=due and self.asks_what_serves)

    def step(self, run: FineTuneJobResource, seen: Seen, settings: Settings) -> JobStep:
        """Make the Job, make the next where infrastructure took it, or say how it stands."""
        found = turn(seen.attempts, self, self._retries(run))
        if not isinstance(found, Turn):
            return found
        base = usable_base(run, seen, self.task)
        if not isinstance(base, ReadyBase):
            return Step(base)
        work = self.work(run, seen, base, found.number)
        return take(seen.attempts, self, found, job.build(self._job(run, base, found.number, work), settings))

    def message(self, attempts: Attempts) -> str:
        """Its result in words."""
        success = attempts.success(self.brings)
        return self.came_to(success.payload, success.number) if success and self.came_to else ""

    def _retries(self, run: FineTuneJobResource) -> Retries:
        """The infrastructure may take any stage; what fails by itself is tried again where it is training."""
        spec = run.spec.restarts
        return replace(self.retries, most=spec.infrastructure, failures=spec.failure if self.restarts_failures else 0)

    def _job(self, run: FineTuneJobResource, base: ReadyBase, number: int, work: Work) -> TaskJob:
        return TaskJob(
            stage=self,
            number=number,
            run=run.run,
            owner_kind=finetunejob.KIND,
            owner=run.metadata,
            base_digest=base.digest,
            order=work.order,
            mounts=[base.mount, volumes.run(run.run), *work.mounts],
            resources=self.resources or _accelerated(run, work.accelerators),
            pod=run.spec.pod,
            pods=work.pods,
            files=work.files,
            shared_memory_gib=work.accelerators,
            grace_seconds=work.grace_seconds,
            credentials=work.credentials,
            queue_labels={} if self.resources else _queue_labels(run),
        )


def _queue_labels(run: FineTuneJobResource) -> dict[str, str]:
    """For Jobs that ask for what the person gave: a queue shares that out, be it accelerators or cores and memory."""
    return {name: text for name, text in run.metadata.labels.items() if name in QUEUE_LABELS}


def _accelerated(run: FineTuneJobResource, accelerators: int) -> Manifest:
    """The person's resources, and one accelerator for each process; of no other kind, and no more."""
    spec = run.spec.parallelism
    return accelerated(
        run.spec.pod.resources, spec.resource, 0 if spec.accelerator is Accelerator.CPU else accelerators
    )


def usable_base(run: FineTuneJobResource, seen: Seen, task: Task) -> ReadyBase | Pending | Ended:
    """The base that a Job or an Adapter would name; or why there can be none now."""
    base = ready_base(seen.base, run.spec.base_model.name)
    if isinstance(base, Missing):
        return Pending(base.reason, base.message)
    began_with = {found.annotation(BASE_DIGEST_ANNOTATION) for found in seen.attempts.there} - {None}
    if began_with - {base.digest}:
        message = f"BaseModel {base.name} now has other files than the run began with. Create a new FineTuneJob"
        changed = Result.failure(task, ExitCode.BAD_BASE, Reason.BASE_CHANGED, message)
        return Ended(changed, recorded=True)
    if seen.namesake is not None:  # nothing is overwritten; said before anything is made that could not be published
        message = (
            f"spec.output.baseModel is {run.spec.new_base!r}: a BaseModel of this name is there already, and nothing "
            "is overwritten. Create a new FineTuneJob with another name; if nobody needs that BaseModel, delete it "
            "instead, and the run goes on by itself"
        )
        return Pending(Waiting.NAME_TAKEN, message, look_again=LOOK_AGAIN_SECONDS)
    return Pending(seen.missing.reason, seen.missing.message) if seen.missing else base
