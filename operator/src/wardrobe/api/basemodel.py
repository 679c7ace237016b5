"""Kind BaseModel: a frozen base."""

from typing import Annotated, Literal

from pydantic import Field

from wardrobe_contracts.base import Variant
from wardrobe_contracts.routes import BaseShape

from .finetunejob import PodSettings
from .meta import Metadata, Resource, SourceText, Status, Typed

KIND = "BaseModel"
PLURAL = "basemodels"


class BaseModelSpec(Typed):
    """What the platform team writes."""

    source: SourceText
    variants: Annotated[list[Variant], Field(min_length=1, max_length=4)] | None = None
    """On which every adapter is measured, besides those that its run asks for or that deployments serve."""
    pod: PodSettings = PodSettings()
    """Of the inspection."""


class ShapeStatus(Typed):
    """Facts for planners and people, from config.json and the weights' headers."""

    architecture: str
    model_type: str
    parameters: int
    hidden_size: int
    intermediate_size: int
    layers: int
    attention_heads: int
    key_value_heads: int
    head_dim: int
    vocabulary_size: int
    context_length: int
    dtype: str
    embeddings: Literal["Tied", "Untied"]

    @property
    def sizes(self) -> BaseShape:
        """Those that adapters are held against, and weighed by."""
        return BaseShape.model_validate(self.model_dump())


class TokenizerStatus(Typed):
    """Facts about the tokenizer and its chat template."""

    digest: str
    vocabulary_size: int
    eos_token: str
    pad_token: str | None = None
    chat_template_digest: str
    generation_marker: Literal["Present", "Absent"]


class BaseModelStatus(Status):
    """What inspection found."""

    digest: str | None = None
    fingerprint: str | None = None
    files: int | None = None
    size_bytes: int | None = None
    summary: str | None = None
    shape: ShapeStatus | None = None
    tokenizer: TokenizerStatus | None = None


class BaseModelResource(Resource):
    """A BaseModel as read."""

    metadata: Metadata
    spec: BaseModelSpec
    status: BaseModelStatus = BaseModelStatus()
