"""What an adapter is, how it was made and how good it is: `manifest.json` beside its files."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt

from .base import AdapterName, Digest, Method, Record, Variant
from .exits import Reason
from .gate import Judgement, Verdict
from .training import Lora, Quantization, Schedule

ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
MANIFEST_FILE = "manifest.json"
ADAPTER_FILES = (ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE)
"""The files whose digests make the adapter's digest."""


MOST_NATS = 60.0
"""Per token; beyond, a perplexity has more digits than anybody reads and than an Adapter's field takes."""


class Score(Record):
    """Mean negative log-likelihood per token, natural log, and its exponential."""

    loss: float
    perplexity: float
    tokens: PositiveInt

    @classmethod
    def of(cls, total: float, tokens: int) -> Self:
        """From the summed negative log-likelihood of `tokens` tokens."""
        loss = total / tokens
        return cls(loss=round(loss, 4), perplexity=round(math.exp(min(loss, MOST_NATS)), 2), tokens=tokens)


class Interval(Record):
    """Of a difference in loss, nats per token: 95 % of what other samples of rows would have given."""

    low: float
    high: float


class Comparison(Record):
    """Base and candidate on the same tokens."""

    base: Score
    candidate: Score
    difference: Interval | None = None
    """Of the candidate's loss from the base's; None of before it was taken."""


class IncumbentScores(Record):
    """Another version of the line, which answers, on the same tokens."""

    name: AdapterName
    digest: Digest
    whole: Score
    body: Score
    whole_difference: Interval
    """Of the candidate's loss from this one's."""
    body_difference: Interval


class Evaluation(Record):
    """Scores on the held-out side, on one variant of the base."""

    variant: Variant
    whole: Comparison
    """All tokens of the answers, their end token included."""
    body: Comparison
    """The same without the frame (see `check.Frame`)."""
    incumbents: list[IncumbentScores] = []


class NotAssessed(Record):
    """A variant on which nothing could be measured."""

    variant: Variant
    reason: Reason
    message: str
    needed_bytes: PositiveInt | None = None
    """Of memory, at least: what it had when it asked for more."""


class Origin(Record):
    """The run and the data that something was trained in and on."""

    job: str
    job_uid: str
    dataset_source: str
    dataset_digest: Digest
    validation_source: str | None = None
    validation_digest: Digest | None = None
    """Of the held-out set, where that has a file of its own."""
    train_rows: PositiveInt
    heldout_rows: PositiveInt
    schedule: Schedule
    packages: dict[str, str]

    @property
    def sequence_length(self) -> int:
        """Tokens that a row was cut to."""
        return self.schedule.sequence_length


class Lineage(Origin):
    """Where an adapter comes from that its run has trained."""

    method: Literal[Method.LORA, Method.QLORA]
    lora: Lora
    quantization: Quantization | None = None

    @property
    def trained_on(self) -> Variant:
        """How the base was held."""
        return self.quantization.type if self.quantization else Variant.NONE

    @property
    def seed(self) -> int:
        """Of all that is drawn."""
        return self.schedule.seed


class ImportLineage(Record):
    """Where an adapter comes from that its run has taken from elsewhere: what trained it is not known."""

    method: Literal[Method.IMPORT] = Method.IMPORT
    job: str
    job_uid: str
    adapter_source: str
    """`spec.adapter.source` as the person wrote it."""
    adapter_digest: Digest
    """Of the files as they were there."""
    dataset_source: str
    """Of the data that it was measured on."""
    dataset_digest: Digest
    validation_source: str | None = None
    validation_digest: Digest | None = None
    """Of the held-out set, where that has a file of its own."""
    heldout_rows: PositiveInt
    lora: Lora
    sequence_length: PositiveInt
    """Tokens that a row was cut to."""
    seed: NonNegativeInt
    """Of all that is drawn."""

    @property
    def trained_on(self) -> Variant:
        """Nobody knows; where it is measured on the plain base, that is the first."""
        return Variant.NONE


AnyLineage = Annotated[Lineage | ImportLineage, Field(discriminator="method")]


class BaseReference(Record):
    """The base an adapter belongs to."""

    name: str
    digest: Digest
    chat_template_digest: Digest


class Manifest(Record):
    """Contents of `manifest.json`. Its sha256 is an Adapter's `spec.manifestDigest`."""

    format: Literal[1] = 1
    line: str
    digest: Digest
    files: dict[str, Digest]
    """adapter_config.json, adapter_model.safetensors and probes.json."""
    base: BaseReference
    lineage: AnyLineage
    evaluations: Annotated[list[Evaluation], Field(min_length=1)]
    evaluated_rows: PositiveInt | None = None
    """Of the lineage's held-out rows; None for all."""
    heldout_digest: Digest | None = None
    """Of the held-out side, from which rows were measured; None in what earlier releases published."""
    not_assessed: list[NotAssessed] = []
    verdict: Verdict | None = None
    """None where no gate was set."""
    gate: list[Judgement] = []
    """Each rule on each variant, against the base or each incumbent."""
