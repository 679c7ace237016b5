"""Publish: the Adapter, under the line's next number. No Job: what it needs is known."""

from wardrobe.api.children import ADAPTER_ANNOTATION
from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.reasons import ConditionType, Done
from wardrobe.base.ready import ReadyBase
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS, Missing
from wardrobe.run.lines import Line, line_manifest
from wardrobe.run.published import Outcome, adapter_manifest
from wardrobe.run.seen import Seen
from wardrobe.run.tracked import lineage
from wardrobe.settings import Settings
from wardrobe.stage.advance import Step
from wardrobe.stage.attempt import Pending
from wardrobe.stage.attempts import Attempts
from wardrobe.writes import Create, Write, create_or_replace
from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.imports import Imported
from wardrobe_contracts.training import TrainingSummary

from .assess import ASSESS
from .stage import Published, RunStep, Wants, Words, usable_base


class Publish:
    """After the adapter is assessed."""

    words = Words(ConditionType.PUBLISHED, "publishing", Done.PUBLISHED)
    reports_progress = False

    def is_over(self, run: FineTuneJobResource, attempts: Attempts) -> bool:
        """Never: it is the last."""
        return False

    def wants(self, run: FineTuneJobResource, attempts: Attempts) -> Wants:
        """A base to name and a number, unless the run has said under which name it published."""
        unsaid = _made(attempts) is None
        return Wants(base=unsaid, numbering=unsaid)

    def step(self, run: FineTuneJobResource, seen: Seen, settings: Settings) -> RunStep:
        """Create the Adapter, and record that it was."""
        if made := _made(seen.attempts):
            return Step(Published(made))
        outcome, numbering = _outcome(run, seen.attempts), seen.numbering
        if isinstance(numbering, Missing):
            return Step(Pending(numbering.reason, numbering.message, look_again=LOOK_AGAIN_SECONDS))
        if mine := numbering.made_by(run.metadata.uid, outcome.assessment):
            # what cannot be read is not written either; what was published is known without
            return Step(Published(mine), () if seen.missing else _record(seen.attempts, mine))
        base = usable_base(run, seen, ASSESS.task)
        if not isinstance(base, ReadyBase):
            return Step(base)
        line = numbering.claimed(run.metadata.uid)
        adapter = adapter_manifest(run, base, outcome, line.claims[run.metadata.uid])
        name = adapter["metadata"]["name"]
        return Step(Published(name), (*_put(numbering.line, line, run), Create(adapter), *_record(seen.attempts, name)))

    def message(self, attempts: Attempts) -> str:
        """Under which name."""
        return f"published as {_made(attempts)}"


def _outcome(run: FineTuneJobResource, attempts: Attempts) -> Outcome:
    found, trained = attempts.found, attempts.success(TrainingSummary)
    made = trained.payload if trained else found(Imported).payload
    return Outcome(found(CheckReport).payload, made, found(Assessment).payload, lineage(run, attempts))


def _made(attempts: Attempts) -> str | None:
    """As recorded; the first releases wrote it on the assess Job."""
    assess = attempts.newest(ASSESS.task)
    return attempts.record.made or (assess.annotation(ADAPTER_ANNOTATION) if assess else None)


def _record(attempts: Attempts, name: str) -> tuple[Write, ...]:
    return attempts.put(attempts.known().published(name))


def _put(before: Line, after: Line, run: FineTuneJobResource) -> tuple[Write, ...]:
    if before == after:
        return ()
    return (create_or_replace(line_manifest(after, run.metadata.namespace)),)
