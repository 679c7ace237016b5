"""Task `verify`: are the files that somebody's Adapter names what it says of them?"""

from typing import Literal

from pydantic import PositiveInt

from .base import AdapterName, BaseLocation, Digest, Order, Record, TaskPayload, Variant
from .gate import Verdict
from .manifest import BaseReference
from .training import Scaling


class Measured(Record):
    """Losses on one variant, as an Adapter has them: four decimals."""

    variant: Variant
    base: float
    candidate: float


class VerifyConfig(Order):
    """Order to hold an artifact against its Adapter. Nothing is written but the record."""

    base: BaseLocation
    base_reference: BaseReference
    adapter: AdapterName
    artifact: str
    """`spec.artifact.path`, for messages."""
    artifact_folder: str
    """The same as mounted."""
    digest: Digest
    manifest_digest: Digest
    rank: PositiveInt
    alpha: PositiveInt
    scaling: Scaling
    target_modules: list[str]
    measured: list[Measured] = []
    verdict: Verdict | None = None
    """None where the Adapter has none."""
    output_folder: str


class Verified(TaskPayload):
    """It is."""

    task: Literal["verify"] = "verify"
    digest: Digest
    size_bytes: PositiveInt
    """Of all its files."""
