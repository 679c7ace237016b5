"""Task `check`: is this dataset fit to train on? It also splits it, so that what is trained on is what was checked."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from .base import BaseLocation, Digest, Order, Record, TaskPayload, base_from_format_0
from .datasets import Columns, FileFormat
from .remote import RemoteFile
from .rules import Finding, RuleName, RuleSetting
from .text import shorten

TRAIN_FILE = "train.jsonl"
HELDOUT_FILE = "heldout.jsonl"
FETCHED_FILE = "fetched"
"""A dataset, or an import's adapter, from elsewhere until its task has ended: what the names of pods' folders for it
have in common."""
REPORT_FILE = "report.json"
"""All findings (rules.DatasetReport), also of a dataset that is refused."""
TOKENS_FILE = "train.tokens"
"""The training rows as tokens and labels, cut to the sequence length (trainer_image/token_file.py)."""
HELDOUT_TOKENS_FILE = "heldout.tokens"
"""The same of the held-out rows, with the bodies of their answers marked."""


class HeldOutSource(Record):
    """A held-out set of its own."""

    dataset_file: str
    """As mounted; what `fetch` names has this name, in the pod's own folder."""
    fetch: RemoteFile | None = None
    source: str
    """`spec.dataset.validation.source` as the person wrote it, for messages."""


class CheckConfig(Order):
    """Order to check a dataset under the real tokenizer and template, and to write its two sides.

    Writes `train.jsonl` and `heldout.jsonl` (the accepted rows) and both as tokens into `output_folder`.
    """

    format: PositiveInt = 4
    """2 has rules, 3 a chat template's prelude, 4 file formats, columns and held-out sets: none may be skipped."""

    base: BaseLocation
    dataset_file: str
    """The file as mounted; may be missing, which is then the answer. What `fetch` names has this name, in the
    pod's own folder."""
    fetch: RemoteFile | None = None
    """Where the dataset is, if not in the pod; the copy is gone once nobody will do the check again."""
    source: str
    """`spec.dataset.source` as the person wrote it, for messages."""
    file_format: FileFormat | None = None
    """Of both files; None for each as its name ends."""
    columns: Columns | None = None
    """Those that are read, in both files; None for what the rows have, by its own name."""
    sequence_length: PositiveInt
    validation_fraction: Annotated[float | None, Field(gt=0, lt=1)] = None
    validation: HeldOutSource | None = None
    """Instead of the fraction: nothing is split off then."""
    seed: NonNegativeInt
    """Seed of the split; a row's side is hash(seed, all that its user says), so it never changes as data grows."""
    output_folder: str
    rules: dict[RuleName, RuleSetting] = {}
    """Those that a person set something of."""

    @property
    def fraction(self) -> float:
        """The share to hold out. Only where there is no held-out set of its own."""
        assert self.validation_fraction is not None  # noqa: S101  as validated
        return self.validation_fraction

    @model_validator(mode="after")
    def _one_way_to_hold_out(self) -> Self:
        if (self.validation_fraction is None) == (self.validation is None):
            raise ValueError("rows are held out by validationFraction or as validation: one of the two must be given")
        return self

    @classmethod
    def from_format_0(cls, given: dict[str, Any]) -> dict[str, Any]:
        """The base's location in two fields."""
        return given | {"base": base_from_format_0(given)}


class TokenLengths(Record):
    """Lengths of whole rows in tokens, before truncation; of a row with several examples, the longest's."""

    min: NonNegativeInt
    median: NonNegativeInt
    p95: NonNegativeInt
    max: NonNegativeInt


class Frame(Record):
    """The opening and closing that (nearly) all training answers share, for example a greeting.

    A score on the body leaves the frame out: a department's greeting is learnt in a few steps and would flatter it.
    """

    opening: str = ""
    closing: str = ""


class CheckReport(TaskPayload):
    """What the dataset is. Counts are rows unless said otherwise."""

    task: Literal["check"] = "check"
    dataset_digest: Digest
    train_digest: Digest
    heldout_digest: Digest
    tokens_digest: Digest | None = None
    """Of TOKENS_FILE, which checks of earlier releases did not write."""
    heldout_tokens_digest: Digest | None = None
    """The same of HELDOUT_TOKENS_FILE."""
    validation_digest: Digest | None = None
    """Of the file of the held-out set, where that has one of its own."""
    rows: PositiveInt
    train_rows: PositiveInt
    heldout_rows: PositiveInt
    train_examples: PositiveInt | None = None
    """What is trained on: of a training row one, or one for each answer where the template writes earlier answers
    otherwise than they are served. None in reports of before this was counted."""
    dropped_rows: NonNegativeInt
    """Rows left out because truncation removes their whole answer."""
    left_out_rows: NonNegativeInt = 0
    """Rows left out of the training side because a near copy of them is held out, or a row that asks the same in a
    held-out set of its own."""
    truncated_rows: NonNegativeInt
    """Rows kept that lose the end of their answer."""
    duplicate_rows: NonNegativeInt
    conflicting_prompts: NonNegativeInt
    """Prompts that occur with different answers."""
    shared_answers: NonNegativeInt
    """Held-out rows whose answer is also some training row's."""
    tokens: TokenLengths
    label_tokens: PositiveInt
    """Tokens that carry a label, over the training side, per epoch."""
    label_density: float
    """label_tokens / all tokens of the training side, after truncation."""
    frame: Frame
    warnings: list[str] = []
    """What was found, as sentences for a person, the weightiest first."""
    findings: list[Finding] = []
    """The same in numbers."""

    @property
    def heldout_share(self) -> float:
        """Held-out rows / all rows that are kept: the fraction that was asked for holds of many different prompts."""
        return self.heldout_rows / (self.train_rows + self.heldout_rows)

    def shortened(self, limit: int) -> Self:
        """Without the findings, and without the frame, which is words of the rows: assess reads them from the file."""
        warnings = [shorten(text, limit // 6) for text in self.warnings[:8]]
        return self.model_copy(update={"warnings": warnings, "frame": Frame(), "findings": []})
