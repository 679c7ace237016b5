"""FineTuneJob: its stages in their order, and at the end one Adapter under the line's next number."""

from wardrobe.api import basemodel
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.meta import Key
from wardrobe.api.reasons import ConditionType, Waiting
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS, Missing
from wardrobe.plan.plan import RESYNC_SECONDS, Plan
from wardrobe.settings import Settings
from wardrobe.stage.attempt import Pending
from wardrobe.writes import DropEntry, Write
from wardrobe_contracts.training import PROGRESS_PORT

from .last_lines import last_lines
from .lines import Line, claim_entry, line_name
from .seen import Seen
from .stages import stage_of
from .stages.stage import Published, RunStage, RunStep
from .status import status

WAITS_ON_BASE = {Waiting.BASE_MODEL_NOT_FOUND, Waiting.BASE_MODEL_NOT_READY}
"""A base wakes who waits for it; it is looked at again as well, in case it came between two looks."""


def finished(run: FineTuneJobResource) -> bool:
    """Whether the status says that the run has ended; its spec cannot change, so nothing else can."""
    top = run.status.condition(ConditionType.SUCCEEDED)
    return top is not None and top.status != "Unknown" and run.status.observed_generation == run.metadata.generation


def tidy(run: FineTuneJobResource, line: Line | Missing) -> Plan:
    """A claim on the number that an operator, which died once the status named the Adapter, has left is dropped."""
    if isinstance(line, Missing):
        return Plan(requeue_after=RESYNC_SECONDS)
    if run.metadata.uid not in line.claims:
        return Plan()
    return Plan(writes=(_drop_claim(run),))


def decide(run: FineTuneJobResource, seen: Seen, settings: Settings, now: str) -> Plan:
    """What a FineTuneJob asks for now."""
    stage = stage_of(seen.attempts)
    step = stage.step(run, seen, settings)
    return Plan(
        status=status(run, stage, step.state, seen.attempts, now),
        told=last_lines(stage, step.state, seen.attempts),
        writes=step.writes or seen.attempts.put(seen.attempts.known()),
        requeue_after=_look_again(step, seen),
        afterwards=(_drop_claim(run),) if isinstance(step.state, Published) else (),
        waits_on=_waits_on(run, step),
        progress_url=_progress_url(stage, step),
    )


def _drop_claim(run: FineTuneJobResource) -> Write:
    key = Key("ConfigMap", run.metadata.namespace, line_name(run.spec.output.adapter))
    return DropEntry(key, claim_entry(run.metadata.uid))


def _look_again(step: RunStep, seen: Seen) -> float | None:
    if not isinstance(step.state, Pending):
        return None
    waits = seen.missing is not None or step.state.reason in WAITS_ON_BASE
    return step.state.look_again or (LOOK_AGAIN_SECONDS if waits else RESYNC_SECONDS)


def _waits_on(run: FineTuneJobResource, step: RunStep) -> frozenset[Key]:
    """The base, while it is what is missing; afterwards nothing that happens to it concerns the run."""
    reason = step.state.reason if isinstance(step.state, Pending) else None
    if reason not in WAITS_ON_BASE:
        return frozenset()
    return frozenset({Key(basemodel.KIND, run.metadata.namespace, run.spec.base_model.name)})


def _progress_url(stage: RunStage, step: RunStep) -> str | None:
    address = step.state.pod_ip if isinstance(step.state, Pending) else None
    if not stage.reports_progress or not address:
        return None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{PROGRESS_PORT}/progress"
