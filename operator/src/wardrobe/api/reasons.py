"""Every condition type and reason that the operator writes.

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
    ADAPTERS_PROVED = "AdaptersProved"
    """Every department is answered by the version that its spec names, and that version was proved."""
    ROUTES_APPLIED = "RoutesApplied"
    """All routers work by the newest routes."""
    KEYS_LOADED = "KeysLoaded"
    """Every department has a key that opens it."""
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
    NO_REPLICA_READY = "NoReplicaReady"
    """No engine pod is ready yet."""
    PROVING = "Proving"
    """Not every ready replica has proved a version that is asked for."""
    ADAPTER_NOT_FOUND = "AdapterNotFound"
    """A department names an Adapter that this namespace does not have."""
    ADAPTER_NOT_READY = "AdapterNotReady"
    """A department names an Adapter that belongs to another base, or whose base is not known yet."""
    VARIANT_NOT_ASSESSED = "VariantNotAssessed"
    """A department names an Adapter without scores on the deployment's quantization: its effect cannot be proved."""
    NOT_PROVED = "NotProved"
    """A replica has shown that a version is not applied as recorded; the former version goes on answering."""
    ROUTERS_BEHIND = "RoutersBehind"
    """Some routers do not work by the newest routes yet, or no router answers."""
    KEYS_MISSING = "KeysMissing"
    """A department's Secret is missing or empty; its requests are refused until it is there."""
    KEYS_SHARED = "KeysShared"
    """One key is in two departments' Secrets; it opens neither."""
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
    PROVED = "Proved"
    """Every replica that is ready has proved the version that it answers with."""
    APPLIED = "Applied"
    """All routers report the newest routes."""
    KEYS_LOADED = "KeysLoaded"
    """All routers have a key for every department."""
    NOT_REQUIRED = "NotRequired"
    """spec.authentication is None: whoever reaches the Service is answered."""
    SERVING = "Serving"
    """Every department is answered as its spec says."""
    ACCEPTED = "Accepted"
    """The Adapter's base exists under the digest that the Adapter names."""


class Refused(StrEnum):
    """It cannot go on as it is."""

    RETRIES_EXHAUSTED = "RetriesExhausted"
    """Too many attempts were lost to the infrastructure."""
    BASE_MODEL_CHANGED = "BaseModelDigestDiffers"
    """The Adapter belongs to a base of another digest than the BaseModel of that name has."""
