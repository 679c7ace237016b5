"""FineTuneJob: its stages in their order, and at the end one Adapter under the line's next number."""

from collections.abc import Hashable

from wardrobe.api import finetunejob
from wardrobe.api.finetunejob import FineTuneJobResource, FineTuneJobStatus
from wardrobe.api.meta import Key, Status
from wardrobe.api.reasons import ConditionType, Failure, Waiting
from wardrobe.base.ready import waits_on
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS, Missing
from wardrobe.plan.plan import RESYNC_SECONDS, Plan
from wardrobe.settings import Settings
from wardrobe.stage.attempt import Pending
from wardrobe.writes import Delete, DropEntry, Write
from wardrobe_contracts.training import PROGRESS_PORT

from . import lifecycle
from .last_lines import last_lines
from .lines import Line, claim_entry, line_name
from .seen import Seen
from .stages import stage_of
from .stages.stage import Published, RunStage, RunStep
from .status import status

AT_ONCE_SECONDS = 1.0
"""Until what is over already is looked at: the status that says since when is only being written."""

WAITS_ON_BASE = {Waiting.BASE_MODEL_NOT_FOUND, Waiting.BASE_MODEL_NOT_READY}
"""A base wakes who waits for it; it is looked at again as well, in case it came between two looks."""


def finished(run: FineTuneJobResource) -> bool:
    """Whether the status says that the run has ended; what of its spec can still change does not change that."""
    top = run.status.condition(ConditionType.SUCCEEDED)
    return top is not None and top.status != "Unknown"


def tidy(run: FineTuneJobResource, line: Line | Missing, now: str) -> Plan:
    """Of a run that has ended: it is deleted when its time comes.

    A claim on the number that an operator, which died once the status named the Adapter, has left is dropped.
    """
    unreadable = isinstance(line, Missing)
    claimed = not isinstance(line, Missing) and run.metadata.uid in line.claims
    writes: tuple[Write, ...] = (_drop_claim(run),) if claimed else ()
    left = lifecycle.expires_in(run, run.status, now)
    if left == 0:
        key = Key(finetunejob.KIND, run.metadata.namespace, run.metadata.name)
        return Plan(writes=(*writes, Delete(key, run.metadata.uid)))
    return Plan(
        status=_observed(run), writes=writes, requeue_after=_earlier(left, RESYNC_SECONDS if unreadable else None)
    )


def decide(run: FineTuneJobResource, seen: Seen, settings: Settings, now: str) -> Plan:
    """What a FineTuneJob asks for now."""
    stage = stage_of(run, seen.attempts)
    step = lifecycle.hold(run, stage, seen, stage.step(run, seen, settings), now)
    new_status = status(run, stage, step, seen.attempts, now)
    return Plan(
        status=new_status,
        told=last_lines(stage, step.state, seen.attempts),
        writes=step.writes or seen.attempts.put(seen.attempts.known()),
        requeue_after=_earlier(_look_again(step, seen), _due_in(run, new_status, now)),
        afterwards=(_drop_claim(run),) if isinstance(step.state, Published) and run.spec.output.adapter else (),
        waits_on=_waits_on(run, step, seen),
        progress_url=_progress_url(stage, step),
    )


def _drop_claim(run: FineTuneJobResource) -> Write:
    key = Key("ConfigMap", run.metadata.namespace, line_name(run.spec.line))
    return DropEntry(key, claim_entry(run.metadata.uid))


def _observed(run: FineTuneJobResource) -> Status | None:
    """The status as it is, said of the spec as it is."""
    before, generation = run.status, run.metadata.generation
    if before.observed_generation == generation:
        return None
    marks = [found.model_copy(update={"observed_generation": generation}) for found in before.conditions]
    return before.model_copy(update={"observed_generation": generation, "conditions": marks})


def _due_in(run: FineTuneJobResource, new_status: FineTuneJobStatus, now: str) -> float | None:
    """Seconds until its time is over, or it is deleted: no event tells of either."""
    left, top = lifecycle.deadline_in(run, new_status, now), new_status.condition(ConditionType.SUCCEEDED)
    if left is None or (top and top.reason == Failure.DEADLINE_EXCEEDED):
        return lifecycle.expires_in(run, new_status, now)
    return max(left, AT_ONCE_SECONDS)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((found for found in (one, other) if found is not None), default=None)


def _look_again(step: RunStep, seen: Seen) -> float | None:
    if not isinstance(step.state, Pending):
        return None
    if step.state.reason == Waiting.SUSPENDED:  # at rest, whatever is missing, once nothing of it runs
        return step.state.look_again
    waits = seen.missing is not None or step.state.reason in WAITS_ON_BASE
    return step.state.look_again or (LOOK_AGAIN_SECONDS if waits else RESYNC_SECONDS)


def _waits_on(run: FineTuneJobResource, step: RunStep, seen: Seen) -> dict[Key, Hashable]:
    """The base, while it is what is missing; afterwards nothing that happens to it concerns the run."""
    reason = step.state.reason if isinstance(step.state, Pending) else None
    if reason not in WAITS_ON_BASE:
        return {}
    return waits_on(seen.base, run.spec.base_model.name, run.metadata.namespace)


def _progress_url(stage: RunStage, step: RunStep) -> str | None:
    address = step.state.pod_ip if isinstance(step.state, Pending) else None
    if not stage.reports_progress or not address:
        return None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{PROGRESS_PORT}/progress"
