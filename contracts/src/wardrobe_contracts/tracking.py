"""Tracking of a run by a server of MLflow: what a task is told of it, and what came of it.

Whatever comes of it, the task itself does its work and ends as it would have without. So no order's format rises for
it: a trainer that does not know of it trains all the same, and says nothing here.
"""

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import model_validator

from .base import Digest, Record
from .text import shorten

CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""Names of environment variables, and of the entries of the Secret that they come from: the first two, or the last."""

RUN_UID_TAG = "wardrobe.run_uid"
"""By which a run is found again, whichever pod made it."""


class DatasetInput(Record):
    """The data, as MLflow lists it beside a run."""

    source: str
    digest: Digest
    context: Literal["training", "evaluation"] = "training"
    """For what."""


class MlflowTracking(Record):
    """Where a run is tracked, and what is known of it before it trains."""

    uri: str
    """The server's URL, without user and password."""
    experiment: str
    """Its name; made where it lacks."""
    secret: str | None = None
    """That the credentials come from, for messages; they are in the pod's environment."""
    run: str
    """How it is called there."""
    run_uid: str
    """The FineTuneJob's."""
    dataset: DatasetInput
    parameters: dict[str, str]
    """Hyperparameters, base, and what the check found."""
    tags: dict[str, str] = {}
    artifacts: str
    """Where the artifact will be, as `pvc://<claim>/<folder>`, in a folder that its digest names."""


class TrackingReason(StrEnum):
    """Why the server lacks something, each also the reason of a condition (operator, api/reasons.py)."""

    UNREACHABLE = "TrackingUnreachable"
    REFUSED = "TrackingRefused"
    GONE = "TrackingGone"
    FAILED = "TrackingFailed"


class TrackingFault(Record):
    """What is in the way."""

    reason: TrackingReason
    message: str
    """With field, value, rule and next step."""

    @model_validator(mode="before")
    @classmethod
    def _known_word(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("reason") not in tuple(TrackingReason):
            return given | {"reason": TrackingReason.FAILED}
        return given


class Tracked(Record):
    """What the server has, as far as the task knows."""

    run_id: str | None = None
    """MLflow's; None before it was made."""
    experiment_id: str | None = None
    fault: TrackingFault | None = None
    """Why something that there is so far is not there; None where all is."""

    def shortened(self, limit: int) -> Self:
        """With a message of about so many characters."""
        if self.fault is None:
            return self
        fault = self.fault.model_copy(update={"message": shorten(self.fault.message, limit)})
        return self.model_copy(update={"fault": fault})
