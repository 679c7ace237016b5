"""What was observed of a run."""

from dataclasses import dataclass, field

from wardrobe.api.adapter import AdapterSpec
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.reasons import Waiting
from wardrobe.plan.needs import Missing
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.base import AdapterName

from .lines import Line, claim
from .published import evaluations
from .serving import Serving


@dataclass(frozen=True)
class Existing:
    """An Adapter of the line."""

    name: AdapterName
    version: int
    spec: AdapterSpec | None
    """None where it cannot be read: its number is taken all the same."""


@dataclass(frozen=True)
class Numbering:
    """The line's record, and the Adapters of the line that matter to the run's number."""

    line: Line
    adapters: tuple[Existing, ...] = ()

    def made_by(self, run_uid: str, assessment: Assessment) -> AdapterName | None:
        """The Adapter that the run made already, if it is there."""
        return next((found.name for found in self.adapters if is_its_own(found.spec, run_uid, assessment)), None)

    def claimed(self, run_uid: str) -> Line:
        """The line with a number for the run."""
        return claim(self.line, run_uid, (found.version for found in self.adapters))


NOT_ASKED = Missing(Waiting.PENDING, "the line's numbers were not asked for")


@dataclass(frozen=True)
class Seen:
    """Everything. `base`, `numbering`, `namesake` and `serving` only where the stage asked for them."""

    attempts: Attempts
    base: BaseModelResource | None = None
    missing: Missing | None = None
    """What a pod would mount, or a record that has to be mended or moved before anything is made."""
    numbering: Numbering | Missing = NOT_ASKED
    namesake: str | None = None
    """Source of the BaseModel that has the name of the one that method Full makes; None where there is none."""
    serving: Serving = field(default_factory=Serving)


def is_its_own(spec: AdapterSpec | None, run_uid: str, assessment: Assessment) -> bool:
    """Whether an Adapter is what the run makes. By its facts, which never change: a label is written by anybody."""
    if spec is None or spec.lineage is None:
        return False
    facts = (spec.lineage.job.uid, spec.digest, spec.manifest_digest, spec.evaluations)
    return facts == (run_uid, assessment.digest, assessment.manifest_digest, evaluations(assessment))
