"""Task `inspect`: what a base model is."""

import datetime
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, StrictBool, StrictFloat, StrictInt, StrictStr, StringConstraints

from .base import Digest, Fingerprint, Order, Record, TaskPayload

MOST_SIZE = 2**31 - 1
"""Of a dimension: what a BaseModel's status holds."""
TOKEN_LIMIT = 64
"""Characters of a control token: two of them leave room in the termination message, however they are escaped."""

Size = Annotated[int, Field(ge=1, le=MOST_SIZE)]
Token = Annotated[str, StringConstraints(max_length=TOKEN_LIMIT)]

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
"""Of JSON, but null: orders are written without nulls."""
PRELUDE_LIMIT = 512
"""Bytes of what is put before a chat template: they have room in the termination message, however escaped."""
Prelude = Annotated[str, StringConstraints(max_length=PRELUDE_LIMIT)]


class ChatTemplate(Record):
    """What a base's chat template is given beside the conversation."""

    variables: dict[str, Scalar] = {}
    date: datetime.date | None = None
    """The day on which the template is, wherever it prints today's date; None for that of the inspection."""


class InspectConfig(Order):
    """Order to read a base model's files."""

    format: PositiveInt = 2
    """2 has the chat template's settings, which must not be skipped."""

    base_folder: str
    """Folder of the model as mounted; may be missing, which is then the answer."""
    source: str
    """`spec.source` as the person wrote it, for messages."""
    output_folder: str
    """Where `result.json` goes."""
    chat_template: ChatTemplate = ChatTemplate()


class Shape(Record):
    """Architecture facts from config.json and the safetensors headers, for planners and for people."""

    architecture: str
    model_type: str
    parameters: PositiveInt
    hidden_size: Size
    intermediate_size: Size
    layers: Size
    attention_heads: Size
    key_value_heads: Size
    head_dim: Size
    vocabulary_size: Size
    context_length: Size
    dtype: str
    tied_embeddings: bool


class TokenizerFacts(Record):
    """What must be the same wherever an adapter of this base is trained or served."""

    digest: Digest
    """Over the tokenizer's files and the chat template."""
    vocabulary_size: Size
    eos_token: Token
    pad_token: Token | None = None
    chat_template_digest: Digest
    """Of the effective template: with the prelude before it."""
    chat_template_prelude: Prelude = ""
    """What is put before the base's chat template wherever it is rendered: variables, and the day's date."""
    chat_template_date: datetime.date | None = None
    """The date that the template prints; None where it prints none."""
    generation_marker: bool
    """Whether the template marks the assistant's tokens itself (`{% generation %}`)."""


class Inspection(TaskPayload):
    """Facts of one base model. The digest is its identity."""

    task: Literal["inspect"] = "inspect"
    digest: Digest
    fingerprint: Fingerprint
    """Over names, sizes and samples only: cheap to compare at every start (see `digests.fingerprint`)."""
    files: PositiveInt
    size_bytes: PositiveInt
    shape: Shape
    tokenizer: TokenizerFacts
