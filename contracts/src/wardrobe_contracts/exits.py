"""Exit codes and reasons of a task: the code is a class that decides about retry, the reason says what happened."""

from enum import IntEnum
from typing import get_args

from .base import Task
from .words import Word

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
    ACCELERATOR = 72
    DEVICE = 73
    STORE = 74
    PREEMPTED = 75

    @property
    def infrastructure(self) -> bool:
        """True where the same work may succeed elsewhere or later, with nothing changed by a person."""
        return self in {ExitCode.COMMUNICATION, ExitCode.DEVICE, ExitCode.STORE, ExitCode.PREEMPTED}


FAILURE_CODES = tuple(sorted(code for code in ExitCode if code))
"""Every code but success, as the podFailurePolicy rule lists them."""


EVERY_TASK: tuple[Task, ...] = get_args(Task)


class Reason(Word):
    """Why a task ended as it did: the word, its meaning, the tasks that end so, the next step.

    Stable: they become condition reasons, whose messages are more precise than these.
    """

    ends: tuple[Task, ...]
    """Tasks that leave the word in a condition."""

    def __init__(self, word: str, meaning: str, ends: tuple[Task, ...], next_step: str = "") -> None:
        super().__init__(word, meaning, next_step)
        self.ends = ends

    SUCCEEDED = (
        "Succeeded",
        "The task did its work; the operator's own word for the step stands in the condition.",
        (),
    )
    CONFIG_INVALID = (
        "ConfigInvalid",
        "A setting does not suit the base, or operator and trainer are of two releases.",
        EVERY_TASK,
        "create another run with the field that the message names set as it says.",
    )
    DATASET_NOT_FOUND = (
        "DatasetNotFound",
        "There is no file at spec.dataset.source or validation.source, or the pods' user may not read it.",
        ("check",),
        "copy the file there or make it readable, then create the run again; the message lists what is in the folder.",
    )
    CREDENTIALS_REFUSED = (
        "CredentialsRefused",
        "The server of spec.dataset.source or spec.adapter.source does not know the credentials, or they may not read "
        "the file.",
        ("check", "import"),
        "mend the Secret that the message's field names, or what it may read; then create the run again.",
    )
    SOURCE_CHANGED = (
        "SourceChanged",
        "A file at spec.dataset.source or spec.adapter.source was changed again and again while it was being fetched.",
        ("check", "import"),
        "create the run again once nobody writes the file; better, give each state of it a name of its own.",
    )
    SOURCE_UNREACHABLE = (
        "SourceUnreachable",
        "The server of spec.dataset.source or spec.adapter.source does not answer, or breaks off. The check or the "
        "import is made again, and of S3 goes on where it was, so the condition says `Retrying`, and at last "
        "`RetriesExhausted`.",
        (),
    )
    DATASET_TOO_LARGE = (
        "DatasetTooLarge",
        "The file at spec.dataset.source or validation.source is larger than what is fetched into the store.",
        ("check",),
        "name a smaller file, or copy it to a PersistentVolumeClaim and name it by pvc://; then create the run again.",
    )
    DATASET_EMPTY = (
        "DatasetEmpty",
        "The file has no row.",
        ("check",),
        "put one conversation per line into it; a few hundred make a useful adapter.",
    )
    DATASET_MALFORMED = (
        "DatasetMalformed",
        "The file is not of its format, lacks a column, or has rows that are not what a row must be; the message names "
        "the first, the rule, and how many others break it.",
        ("check",),
        "rewrite the file or its rows as the message says, or name format and columns under spec.dataset.",
    )
    ROLES_INVALID = (
        "RolesInvalid",
        "Some conversations have roles in an order that cannot be trained on, or that the chat template refuses.",
        ("check",),
        "begin with user (after at most one system message), take turns, and end with assistant.",
    )
    ANSWERS_TRUNCATED = (
        "AnswersTruncated",
        "spec.training.sequenceLength cuts off the whole answer of too many rows.",
        ("check",),
        "raise it to the number that the message gives, or shorten the prompts.",
    )
    LABELS_SPARSE = (
        "LabelsSparse",
        "Too few of the tokens belong to answers to learn anything from.",
        ("check",),
        "shorten the prompts or lengthen the answers.",
    )
    RULE_BROKEN = (
        "RuleBroken",
        "The dataset breaks a rule whose level is Fail; the message names the rule, and the first rows by number.",
        ("check",),
        "mend the rows; or, if they are as they should be, set the rule's level under spec.dataset.rules to Warn and "
        "create the run again. All findings are in the store, in runs/<run>/check/report.json.",
    )
    SPLIT_EMPTY = (
        "SplitEmpty",
        "The split leaves no row on one of its sides, or all rows to train on ask what the held-out ones ask.",
        ("check",),
        "add rows with other prompts, or change fraction, seed or source under spec.dataset.validation.",
    )
    DATA_CHANGED = (
        "DataChanged",
        "The run's copy of the checked rows is not what the check left.",
        ("train", "assess", "release"),
        "leave the store's runs/ alone, and create the run again.",
    )
    BASE_NOT_FOUND = (
        "BaseNotFound",
        "There is no model at spec.source.",
        ("inspect",),
        "name the folder that holds config.json; the message lists what is there.",
    )
    BASE_CHANGED = (
        "BaseChanged",
        "The base's files are not those that its BaseModel was inspected with, or the BaseModel was made anew.",
        EVERY_TASK,
        "put the inspected files back, or make a new BaseModel for the new ones; then create the run again.",
    )
    BASE_MALFORMED = (
        "BaseMalformed",
        "A file of the model is missing, damaged, or not what adapters can be trained on.",
        ("inspect", "import", "train", "assess", "release", "verify"),
        "copy the model again, all of it from one revision; then delete the BaseModel and create it again.",
    )
    ARCHITECTURE_UNKNOWN = (
        "ArchitectureUnknown",
        "The model is no causal language model that the trainer's transformers has built in. Its own code is never "
        "run.",
        ("inspect",),
        "choose another model.",
    )
    CHAT_TEMPLATE_MISSING = (
        "ChatTemplateMissing",
        "The tokenizer has no chat template, so conversations have no form to be trained in.",
        ("inspect",),
        "use the instruction-tuned model, or add its chat_template.jinja.",
    )
    UNSAFE_WEIGHTS = (
        "UnsafeWeights",
        "The weights are pickles, which run code when they are loaded.",
        ("inspect",),
        "convert them to safetensors on a machine that you trust; the message says how.",
    )
    ADAPTER_MISSING = (
        "AdapterMissing",
        "There is no adapter at spec.adapter.source of a run, or at spec.artifact.path of an Adapter by hand, or the "
        "pods' user may not read it.",
        ("import", "verify"),
        "copy the files there or make them readable, then create the object again; the message lists what is in the "
        "folder.",
    )
    ADAPTER_INVALID = (
        "AdapterInvalid",
        "The trained or imported files, or those that an Adapter by hand names, are not a usable adapter of this base "
        "or not what is said of them; or another artifact is in their place in the store.",
        ("import", "assess", "verify"),
        "as the message says; usually create the object again.",
    )
    MODEL_INVALID = (
        "ModelInvalid",
        "The trained files are not a usable model, or another model is in their place in the store.",
        ("release",),
        "as the message says; usually create the run again.",
    )
    OUT_OF_MEMORY = (
        "OutOfMemory",
        "The work needed more memory than the container's limit or the GPU has.",
        EVERY_TASK,
        "create the run again with a higher spec.pod.resources.limits.memory, or a lower microBatchSize or "
        "sequenceLength. The limits of inspect, check, import and verify are Wardrobe's own: there only a smaller file "
        "helps.",
    )
    DIVERGED = (
        "Diverged",
        "The loss is no longer a number: the weights have grown beyond all bounds.",
        ("train",),
        "create the run again with a lower spec.training.learningRate.",
    )
    ACCELERATOR_UNUSABLE = (
        "AcceleratorUnusable",
        "The node's accelerators are not what training needs: none found, too few, no bfloat16, or too little free "
        "memory.",
        ("train", "assess", "release"),
        "choose other nodes by spec.pod.nodeSelector, or mend the driver; the message says what was found and needed.",
    )
    DEVICE_LOST = (
        "DeviceLost",
        "An accelerator failed under the work. It is made again, so the condition says `Retrying`, and at last "
        "`RetriesExhausted`.",
        (),
    )
    PEERS_MISSING = (
        "PeersMissing",
        "Not all pods of the attempt were there within spec.parallelism.startSeconds. It is made again, so the "
        "condition says `Retrying`, and at last `RetriesExhausted`.",
        (),
    )
    PEERS_LOST = (
        "PeersLost",
        "The connection to another process of the attempt broke. It is made again, so the condition says `Retrying`, "
        "and at last `RetriesExhausted`.",
        (),
    )
    STEP_STALLED = (
        "StepStalled",
        "A step took far longer than those before it. It is made again, so the condition says `Retrying`, and at last "
        "`RetriesExhausted`. Where each process stood is in the pod's log.",
        (),
    )
    TERMINATED = (
        "Terminated",
        "The task was stopped from outside: eviction, a lost node, a Job that somebody suspended or deleted. It is "
        "made again, so the condition says `Retrying`, and at last `RetriesExhausted`.",
        (),
    )
    STORE_FAILED = (
        "StoreFailed",
        "A volume could not be read or written. It is made again, so the condition says `Retrying`; this word "
        "remains only where a failed task could not leave its record either.",
        EVERY_TASK,
        "look at the volume (full, read-only, gone?), then create the object again.",
    )
    STORE_UNSUITABLE = (
        "StoreUnsuitable",
        "The volume of the claim wardrobe-store does not do what publishing cannot do without: rename folders in one "
        "step, sync files and folders. It is tried before anything is trained; the message says what, where, and what "
        "came of it.",
        ("check",),
        "give the claim another volume, such as NFS, CephFS or a disk of the node, or let the pods' user write; then "
        "create the run again.",
    )
    UNKNOWN = (
        "Unknown",
        "No rule of ours foresaw the error; the message is what is known.",
        EVERY_TASK,
        "read the pod's log; if the cause is not yours, report a defect.",
    )
