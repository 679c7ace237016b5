"""Task `inspect`: what a base model is."""

from pydantic import PositiveInt

from .base import Digest, Order, Record


class InspectConfig(Order):
    """Order to read a base model's files."""

    base_folder: str
    """Folder of the model as mounted; may be missing, which is then the answer."""
    source: str
    """`spec.source` as the person wrote it, for messages."""
    output_folder: str
    """Where `result.json` goes."""


class Shape(Record):
    """Architecture facts from config.json and the safetensors headers, for planners and for people."""

    architecture: str
    model_type: str
    parameters: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    layers: PositiveInt
    attention_heads: PositiveInt
    key_value_heads: PositiveInt
    head_dim: PositiveInt
    vocabulary_size: PositiveInt
    context_length: PositiveInt
    dtype: str
    tied_embeddings: bool


class TokenizerFacts(Record):
    """What must be the same wherever an adapter of this base is trained or served."""

    digest: Digest
    """Over the tokenizer's files and the chat template."""
    vocabulary_size: PositiveInt
    eos_token: str
    pad_token: str | None = None
    chat_template_digest: Digest
    generation_marker: bool
    """Whether the template marks the assistant's tokens itself (`{% generation %}`)."""


class Inspection(Record):
    """Facts of one base model. The digest is its identity."""

    digest: Digest
    fingerprint: Digest
    """Over names, sizes and headers only: cheap to compare at every start (see `digests.fingerprint`)."""
    files: PositiveInt
    size_bytes: PositiveInt
    shape: Shape
    tokenizer: TokenizerFacts
