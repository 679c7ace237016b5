"""Exit codes and reasons of a task: the code is a class that decides about retry, the reason says what happened."""

from enum import IntEnum, StrEnum

TERMINATION_MESSAGE_LIMIT = 3072
"""Bytes of the copy of `result.json` in the container's termination message (the kubelet keeps 4096)."""


class ExitCode(IntEnum):
    """Exit codes of the trainer's entry point, in the range that a Job's podFailurePolicy lists (64 to 79)."""

    SUCCEEDED = 0
    BAD_CONFIG = 64
    BAD_DATA = 65
    BAD_BASE = 66
    OUT_OF_MEMORY = 67
    DIVERGED = 68
    COMMUNICATION = 69
    UNKNOWN = 70
    BAD_ADAPTER = 71
    STORE = 74
    PREEMPTED = 75

    @property
    def infrastructure(self) -> bool:
        """True where the same work may succeed elsewhere or later, with nothing changed by a person."""
        return self in {ExitCode.COMMUNICATION, ExitCode.STORE, ExitCode.PREEMPTED}


FAILURE_CODES = tuple(sorted(code for code in ExitCode if code))
"""Every code but success, as the podFailurePolicy rule lists them."""


class Reason(StrEnum):
    """Why a task ended as it did. Stable words: they become condition reasons."""

    SUCCEEDED = "Succeeded"
    CONFIG_INVALID = "ConfigInvalid"
    DATASET_NOT_FOUND = "DatasetNotFound"
    DATASET_EMPTY = "DatasetEmpty"
    DATASET_MALFORMED = "DatasetMalformed"
    ROLES_INVALID = "RolesInvalid"
    ANSWERS_TRUNCATED = "AnswersTruncated"
    LABELS_SPARSE = "LabelsSparse"
    SPLIT_EMPTY = "SplitEmpty"
    DATA_CHANGED = "DataChanged"
    BASE_NOT_FOUND = "BaseNotFound"
    BASE_CHANGED = "BaseChanged"
    BASE_MALFORMED = "BaseMalformed"
    ARCHITECTURE_UNKNOWN = "ArchitectureUnknown"
    CHAT_TEMPLATE_MISSING = "ChatTemplateMissing"
    UNSAFE_WEIGHTS = "UnsafeWeights"
    ADAPTER_INVALID = "AdapterInvalid"
    OUT_OF_MEMORY = "OutOfMemory"
    DIVERGED = "Diverged"
    TERMINATED = "Terminated"
    STORE_FAILED = "StoreFailed"
    UNKNOWN = "Unknown"
