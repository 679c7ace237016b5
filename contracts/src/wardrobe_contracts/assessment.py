"""Task `assess`: re-open, evaluate, record probes, publish."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt

from .base import Accelerator, BaseLocation, Digest, Order, TaskPayload, Variant, base_from_format_0
from .manifest import BaseReference, Evaluation, Lineage


class AssessConfig(Order):
    """Order to turn what training left into a published artifact.

    The artifact goes to `<line_folder>/<64 hex digits of its digest>/`, staged in `<line_folder>/.<run>/`.
    """

    run: str
    line: str
    base: BaseLocation
    base_reference: BaseReference
    """The same base, as the adapter's manifest names it."""
    data_folder: str
    heldout_digest: Digest
    candidate_folder: str
    """`<attempt>/adapter`."""
    line_folder: str
    """`adapters/<line>` of the store, as mounted."""
    output_folder: str
    variants: Annotated[list[Variant], Field(min_length=1)]
    lineage: Lineage
    accelerator: Accelerator

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
    probes: PositiveInt
    indistinguishable: list[Variant] = []

    def shortened(self, limit: int) -> Self:
        """With the first of many target modules."""
        return self.model_copy(update={"target_modules": self.target_modules[: limit // 50]})
