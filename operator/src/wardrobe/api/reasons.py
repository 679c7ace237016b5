"""Every condition type and reason that the operator writes. The reference page is generated from this file.

Reasons of a failed task come from `wardrobe_contracts.exits.Reason`; these are the operator's own.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """Types of conditions."""

    READY = "Ready"
    SUCCEEDED = "Succeeded"
    DATASET_CHECKED = "DatasetChecked"
    TRAINED = "Trained"
    PUBLISHED = "Published"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Waiting(StrEnum):
    """Nothing is wrong yet, or somebody may still mend it: the operator goes on by itself."""

    PENDING = "Pending"
    """An earlier step has to end first."""
    RUNNING = "Running"
    """The Job of this step exists, and nothing is in its way; the message names it."""
    CHECKING = "CheckingDataset"
    """The dataset is being checked and split."""
    TRAINING = "Training"
    """The training attempt runs or starts."""
    ASSESSING = "Assessing"
    """The adapter is being evaluated and published."""
    UNSCHEDULABLE = "Unschedulable"
    """No node fits the pod; the message is the scheduler's."""
    POD_STUCK = "PodStuck"
    """The pod cannot start (image, volume or security settings); the message is the kubelet's."""
    BASE_MODEL_NOT_FOUND = "BaseModelNotFound"
    """spec.baseModel.name names no BaseModel in this namespace."""
    BASE_MODEL_NOT_READY = "BaseModelNotReady"
    """The BaseModel is not inspected yet, or its inspection failed."""
    CLAIM_NOT_FOUND = "ClaimNotFound"
    """A PersistentVolumeClaim that a pod would mount does not exist."""
    CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
    """The ConfigMap, or its key, that holds the dataset does not exist."""
    API_REFUSED = "ApiRefused"
    """The API refused an object that the operator makes from the spec; the message is the apiserver's."""
    RETRYING = "Retrying"
    """The last attempt was lost to the infrastructure; another one is being made."""


class Done(StrEnum):
    """A step or a resource is as it should be."""

    INSPECTED = "Inspected"
    CHECKED = "Checked"
    TRAINED = "Trained"
    PUBLISHED = "Published"
    SUCCEEDED = "Succeeded"
    ACCEPTED = "Accepted"
    """The Adapter's base exists under the digest that the Adapter names."""


class Refused(StrEnum):
    """It cannot go on as it is."""

    RETRIES_EXHAUSTED = "RetriesExhausted"
    """Too many attempts were lost to the infrastructure."""
    BASE_MODEL_CHANGED = "BaseModelDigestDiffers"
    """The Adapter belongs to a base of another digest than the BaseModel of that name has."""
