"""Task `check`: is this dataset fit to train on? It also splits it, so that what is trained on is what was checked."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt

from .base import BaseLocation, Digest, Order, Record, TaskPayload, base_from_format_0
from .remote import RemoteFile
from .rules import Finding, RuleName, RuleSetting
from .text import shorten

TRAIN_FILE = "train.jsonl"
HELDOUT_FILE = "heldout.jsonl"
REPORT_FILE = "report.json"
"""All findings (rules.DatasetReport), also of a dataset that is refused."""
TOKENS_FILE = "train.tokens"
"""The training rows as tokens and labels, cut to the sequence length (trainer_image/token_file.py)."""


class CheckConfig(Order):
    """Order to check a dataset under the real tokenizer and template, and to write its two sides.

    Writes `train.jsonl` and `heldout.jsonl` (the accepted rows) and `train.tokens` into `output_folder`.
    """

    format: PositiveInt = 3
    """2 has rules, 3 a chat template's prelude: none may be skipped."""

    base: BaseLocation
    dataset_file: str
    """The JSON Lines file as mounted; may be missing, which is then the answer. What `fetch` names is put there."""
    fetch: RemoteFile | None = None
    """Where the dataset is, if not in the pod; the copy is gone once the sides are written."""
    source: str
    """`spec.dataset.source` as the person wrote it, for messages."""
    sequence_length: PositiveInt
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    seed: NonNegativeInt
    """Seed of the split; a row's side is hash(seed, all that its user says), so it never changes as data grows."""
    output_folder: str
    rules: dict[RuleName, RuleSetting] = {}
    """Those that a person set something of."""

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
    rows: PositiveInt
    train_rows: PositiveInt
    heldout_rows: PositiveInt
    train_examples: PositiveInt | None = None
    """What is trained on: of a training row one, or one for each answer where the template writes earlier answers
    otherwise than they are served. None in reports of before this was counted."""
    dropped_rows: NonNegativeInt
    """Rows left out because truncation removes their whole answer."""
    left_out_rows: NonNegativeInt = 0
    """Rows left out of the training side because a near copy of them is held out."""
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
