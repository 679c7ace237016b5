"""Task `assess`: re-open, evaluate, record probes, publish."""

from typing import Annotated

from pydantic import Field, PositiveInt

from .base import Accelerator, Digest, Order, Record, Variant
from .manifest import BaseReference, Evaluation, Lineage


class AssessConfig(Order):
    """Order to turn what training left into a published artifact.

    The artifact goes to `<line_folder>/<64 hex digits of its digest>/`, staged in `<line_folder>/.<run>/`.
    """

    run: str
    line: str
    base_folder: str
    base_fingerprint: Digest
    base: BaseReference
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


class Assessment(Record):
    """What was published."""

    digest: Digest
    manifest_digest: Digest
    size_bytes: PositiveInt
    rank: PositiveInt
    target_modules: list[str]
    evaluations: list[Evaluation]
    probes: PositiveInt
    indistinguishable: list[Variant] = []
