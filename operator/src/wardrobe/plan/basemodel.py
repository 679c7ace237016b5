"""BaseModel: inspected once, then a fact."""

from dataclasses import dataclass
from functools import partial

from wardrobe.api.basemodel import BaseModelResource, BaseModelStatus, ShapeStatus, TokenizerStatus
from wardrobe.api.reasons import ConditionType, Done
from wardrobe.api.sources import parse_claim
from wardrobe.resources.inspect_job import inspect_job
from wardrobe.settings import Settings
from wardrobe_contracts import paths
from wardrobe_contracts.inspection import Inspection, Shape, TokenizerFacts

from . import tasks
from .conditions import Fact, conditions, kstatus
from .needs import LOOK_AGAIN_SECONDS, Missing, Need
from .plan import RESYNC_SECONDS, Plan
from .tasks import Ended, Pending, TaskView

NEXT_STEP = "Mend the files, then delete the BaseModel and create it again: a source is read once"


@dataclass(frozen=True)
class Seen:
    """What was observed."""

    inspect: TaskView | None
    missing: Missing | None


def needs(base: BaseModelResource, inspect: TaskView | None) -> list[Need]:
    """What the inspection's pod will mount; asked for only before its Job is made."""
    if inspect is not None:
        return []
    source = parse_claim(base.spec.source)
    return [
        Need.claim("spec.source", source.claim, "the claim that holds the model's files"),
        Need.claim("the namespace's store", paths.STORE_CLAIM, "Wardrobe keeps runs and adapters in it"),
    ]


def decide(base: BaseModelResource, seen: Seen, settings: Settings, now: str) -> Plan:
    """What a BaseModel asks for now."""
    if seen.missing is not None:
        ready = Fact(ConditionType.READY, "Unknown", seen.missing.reason, seen.missing.message)
        return Plan(status=_status(base, ready, None, now), requeue_after=LOOK_AGAIN_SECONDS)
    step = tasks.advance(seen.inspect, partial(_build, base, settings), now)
    writes = (*tasks.record(seen.inspect), *step.writes)
    if isinstance(step.state, Pending):
        ready = Fact(ConditionType.READY, "Unknown", step.state.reason, f"inspecting: {step.state.message}")
        return Plan(
            status=_status(base, ready, None, now), writes=writes, requeue_after=step.state.look_again or RESYNC_SECONDS
        )
    return Plan(status=_ended(base, step.state, now), writes=writes)


def _build(base: BaseModelResource, settings: Settings, number: int) -> dict[str, object]:
    return inspect_job(base, number, settings)


def _ended(base: BaseModelResource, ended: Ended, now: str) -> BaseModelStatus:
    inspection = ended.result.inspection
    if inspection is None:
        mendable = ended.result.problem is not None
        message = tasks.failure_message(ended.result) + (f" {NEXT_STEP}" if mendable else "")
        failed = Fact(ConditionType.READY, "False", tasks.failure_reason(ended), message)
        return _status(base, failed, None, now)
    ready = Fact(ConditionType.READY, "True", Done.INSPECTED, f"{inspection.files} files, {inspection.digest}")
    return _status(base, ready, inspection, now)


def _status(base: BaseModelResource, ready: Fact, found: Inspection | None, now: str) -> BaseModelStatus:
    generation = base.metadata.generation
    marks = conditions(base.status, [ready, *kstatus(ready)], generation, now)
    if found is None:
        return BaseModelStatus(observed_generation=generation, conditions=marks)
    return BaseModelStatus(
        observed_generation=generation,
        conditions=marks,
        digest=found.digest,
        fingerprint=found.fingerprint,
        files=found.files,
        size_bytes=found.size_bytes,
        summary=_summary(found.shape),
        shape=_shape(found.shape),
        tokenizer=_tokenizer(found.tokenizer),
    )


def _summary(shape: Shape) -> str:
    return f"{_count(shape.parameters)} {shape.architecture}, {shape.context_length} tokens"


def _count(parameters: int) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if parameters >= size:
            return f"{parameters / size:.1f}{unit}"
    return str(parameters)


def _shape(shape: Shape) -> ShapeStatus:
    facts = shape.model_dump(exclude={"tied_embeddings"})
    return ShapeStatus(**facts, embeddings="Tied" if shape.tied_embeddings else "Untied")


def _tokenizer(facts: TokenizerFacts) -> TokenizerStatus:
    known = facts.model_dump(exclude={"generation_marker"})
    return TokenizerStatus(**known, generation_marker="Present" if facts.generation_marker else "Absent")
