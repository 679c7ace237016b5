"""Task `assess`: re-open, evaluate, judge, record probes, publish."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt

from .base import (
    Accelerator,
    AdapterName,
    BaseLocation,
    Digest,
    Order,
    Record,
    TaskPayload,
    Variant,
    base_from_format_0,
)
from .gate import GateRule, Judgement, Verdict
from .manifest import AnyLineage, BaseReference, Evaluation, NotAssessed
from .text import shorten
from .tracking import MlflowTracking

MOST_ROWS = 2000
"""Held-out rows that are measured, unless the run says otherwise."""
ROOMY = 600
"""Characters of texts from which on a termination message has room for incumbents."""


class Incumbent(Record):
    """A version of the line that a department names."""

    name: AdapterName
    digest: Digest
    folder: str | None = None
    """Its artifact, as mounted; None in orders of releases that looked for it in the line's folder."""


class AssessConfig(Order):
    """Order to turn what training or import left into a published artifact.

    The artifact goes to `<line_folder>/<64 hex digits of its digest>/`, staged in `<line_folder>/.<run>.<pod's uid>/`.
    """

    format: PositiveInt = 3
    """3 has a chat template's prelude, which must not be skipped."""

    run: str
    line: str
    base: BaseLocation
    base_reference: BaseReference
    """The same base, as the adapter's manifest names it."""
    data_folder: str
    heldout_digest: Digest
    heldout_tokens_digest: Digest | None = None
    """None where the check was of a release that did not write them: they are made again then."""
    candidate_folder: str
    """`<attempt>/adapter`, or what the import left."""
    line_folder: str
    """`adapters/<line>` of the store, as mounted."""
    scores_folder: str | None = None
    """`scores` of the store, as mounted: what is measured stays there for the next assessment."""
    output_folder: str
    variants: Annotated[list[Variant], Field(min_length=1)]
    max_rows: PositiveInt = MOST_ROWS
    incumbents: list[Incumbent] = []
    gate: list[GateRule] = []
    lineage: AnyLineage
    accelerator: Accelerator
    tracking: MlflowTracking | None = None

    @classmethod
    def from_format_0(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The base's location in two fields, and the reference called `base`."""
        return given | {"base": base_from_format_0(given), "baseReference": given.get("base")}


class Assessment(TaskPayload):
    """What was published."""

    task: Literal["assess"] = "assess"
    digest: Digest
    manifest_digest: Digest
    size_bytes: PositiveInt
    rank: PositiveInt
    target_modules: list[str]
    evaluations: list[Evaluation]
    evaluated_rows: PositiveInt | None = None
    not_assessed: list[NotAssessed] = []
    verdict: Verdict | None = None
    gate: list[Judgement] = []
    """Of each rule what is nearest to failing it, or fails it by most. All are in the manifest."""
    probes: PositiveInt
    indistinguishable: list[Variant] = []

    def shortened(self, limit: int) -> Self:
        """With the first of many target modules, with incumbents only where there is room, and with short messages."""
        told = [found.model_copy(update={"message": shorten(found.message, limit // 4)}) for found in self.not_assessed]
        why = [
            found.model_copy(update={"message": found.message and shorten(found.message, limit // 4)})
            for found in self.gate
        ]
        evaluations = self.evaluations if limit > ROOMY else [_bare(found) for found in self.evaluations]
        modules = self.target_modules[: limit // 50]
        return self.model_copy(
            update={"target_modules": modules, "not_assessed": told, "gate": why, "evaluations": evaluations}
        )


def _bare(evaluation: Evaluation) -> Evaluation:
    return evaluation.model_copy(update={"incumbents": []})
