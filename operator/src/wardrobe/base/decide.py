"""BaseModel: inspected once, then a fact."""

from dataclasses import dataclass

from wardrobe.api.basemodel import BaseModelResource, BaseModelStatus, ShapeStatus, TokenizerStatus
from wardrobe.api.reasons import ConditionType, Done
from wardrobe.plan.conditions import Fact, conditions, kstatus
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS, Missing, Need
from wardrobe.plan.plan import RESYNC_SECONDS, Plan
from wardrobe.settings import Settings
from wardrobe.stage.advance import Turn, take, turn
from wardrobe.stage.attempt import Attempt, Ended, Pending
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts import paths
from wardrobe_contracts.digests import is_sampled
from wardrobe_contracts.exits import Reason
from wardrobe_contracts.inspection import Inspection, Shape, TokenizerFacts
from wardrobe_contracts.result import Result

from .job import INSPECT, inspect_job

NEXT_STEP = "Mend that, then delete the BaseModel and create it again: a source is read once"


@dataclass(frozen=True)
class Seen:
    """What was observed."""

    attempts: Attempts
    missing: Missing | None
    """What a pod would mount, or a record that has to be mended or moved before anything is made."""
    earlier: Attempt | None = None
    """The inspection that took the fingerprint in its older form."""


def needs(base: BaseModelResource, attempts: Attempts) -> list[Need]:
    """What the inspection's pod will mount; asked for only before its Job is made."""
    if attempts.newest(INSPECT.task) is not None:
        return []
    source = base.spec.claim
    return [
        Need.claim("spec.source", source.claim, "the claim that holds the model's files"),
        Need.claim("the namespace's store", paths.STORE_CLAIM, "Wardrobe keeps runs and adapters in it"),
    ]


def decide(base: BaseModelResource, seen: Seen, settings: Settings, now: str) -> Plan:
    """What a BaseModel asks for now."""
    earlier = _found(seen.earlier)
    step = turn(seen.attempts, INSPECT)
    if seen.missing is not None and isinstance(step, Turn):
        ready = Fact(ConditionType.READY, "Unknown", seen.missing.reason, seen.missing.message)
        return Plan(status=_open(base, ready, earlier, now), requeue_after=LOOK_AGAIN_SECONDS)
    if isinstance(step, Turn):
        step = take(seen.attempts, INSPECT, step, inspect_job(base, step.number, settings))
    writes = step.writes or seen.attempts.put(seen.attempts.known())
    if isinstance(step.state, Pending):
        ready = Fact(ConditionType.READY, "Unknown", step.state.reason, f"inspecting: {step.state.message}")
        return Plan(
            status=_open(base, ready, earlier, now),
            writes=writes,
            requeue_after=step.state.look_again or RESYNC_SECONDS,
        )
    return Plan(status=_ended(base, step.state, earlier, now), writes=writes)


def _found(earlier: Attempt | None) -> Inspection | None:
    """What an inspection has found, if it has."""
    state = earlier.state if earlier is not None else None
    return _inspected(state.result) if isinstance(state, Ended) else None


def _inspected(result: Result) -> Inspection | None:
    return result.payload if isinstance(result.payload, Inspection) else None


def _open(base: BaseModelResource, ready: Fact, earlier: Inspection | None, now: str) -> BaseModelStatus:
    """While an inspection goes on. What was inspected before stays Ready: only its fingerprint is of an older form."""
    if earlier is not None:
        message = (
            f"{_summed(earlier)}. Its fingerprint is of an older form and is taken anew; engine pods on it are made or "
            f"changed after that. {ready.message}"
        )
        ready = Fact(ConditionType.READY, "True", Done.INSPECTED, message)
    return _status(base, ready, earlier, now)


def _ended(base: BaseModelResource, ended: Ended, earlier: Inspection | None, now: str) -> BaseModelStatus:
    inspection = _inspected(ended.result)
    if inspection is None:
        mendable = ended.result.problem is not None
        message = ended.message + (f" {NEXT_STEP}" if mendable else "")
        failed = Fact(ConditionType.READY, "False", ended.reason, message)
        return _status(base, failed, earlier, now)
    if not is_sampled(inspection.fingerprint):
        message = f"the trainer's image is older than the operator. Run both of one release. {NEXT_STEP}"
        return _status(base, Fact(ConditionType.READY, "False", Reason.CONFIG_INVALID, message), earlier, now)
    if earlier is not None and earlier.digest != inspection.digest:
        message = (
            f"spec.source is {base.spec.source!r}: its files were inspected with digest {earlier.digest} and now have "
            f"{inspection.digest}. {NEXT_STEP}"
        )
        return _status(base, Fact(ConditionType.READY, "False", Reason.BASE_CHANGED, message), earlier, now)
    return _status(base, Fact(ConditionType.READY, "True", Done.INSPECTED, _summed(inspection)), inspection, now)


def _summed(inspection: Inspection) -> str:
    return f"{inspection.files} files, {inspection.digest}"


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
    known = facts.model_dump(mode="json", exclude={"generation_marker", "chat_template_prelude"})
    return TokenizerStatus(
        **known,
        chat_template_prelude=facts.chat_template_prelude or None,
        generation_marker="Present" if facts.generation_marker else "Absent",
    )
