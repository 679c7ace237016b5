"""Task `release`: a trained model beside its base on the held-out rows, and in the store as a base of its own."""

from typing import Literal

from pydantic import PositiveInt

from .assessment import MOST_ROWS
from .base import Accelerator, BaseLocation, Digest, Order, Record, TaskPayload
from .manifest import BaseReference, Evaluation, Origin
from .tracking import MlflowTracking

RELEASE_FILE = ".wardrobe.json"
"""Beside a published model's files, of which it is none: hidden files make no other model."""


class ReleaseConfig(Order):
    """Order to publish what training left as `<models_folder>/<64 hex digits of its digest>/`."""

    format: PositiveInt = 3
    """3 has a chat template's prelude, which must not be skipped."""

    run: str
    base: BaseLocation
    base_reference: BaseReference
    """The same base, as the new one's lineage names it."""
    data_folder: str
    heldout_digest: Digest
    heldout_tokens_digest: Digest | None = None
    """None where the check was of a release that did not write them: they are made again then."""
    candidate_folder: str
    """`<attempt>/model`."""
    models_folder: str
    """`models/<name>` of the store, as mounted."""
    output_folder: str
    max_rows: PositiveInt = MOST_ROWS
    """Held-out rows that are measured."""
    lineage: Origin
    accelerator: Accelerator
    tracking: MlflowTracking | None = None


class ModelManifest(Record):
    """Contents of RELEASE_FILE."""

    format: Literal[1] = 1
    digest: Digest
    """As inspection will find it."""
    base: BaseReference
    """What was trained."""
    lineage: Origin
    evaluation: Evaluation
    evaluated_rows: PositiveInt | None = None
    """Of the lineage's held-out rows; None for all."""


class Release(TaskPayload):
    """What was published."""

    task: Literal["release"] = "release"
    digest: Digest
    files: PositiveInt
    size_bytes: PositiveInt
    evaluation: Evaluation
    evaluated_rows: PositiveInt | None = None
    """Of the held-out rows; None for all."""
