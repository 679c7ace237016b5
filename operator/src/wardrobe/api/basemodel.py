"""Kind BaseModel: a frozen base."""

import datetime
import json
import math
from typing import Annotated, Literal

from pydantic import Field

from wardrobe_contracts.base import Variant
from wardrobe_contracts.inspection import Scalar
from wardrobe_contracts.routes import BaseShape

from .finetunejob import PodSettings
from .meta import Metadata, Resource, SourceText, Status, Typed
from .sources import ClaimSource, parse_claim

KIND = "BaseModel"
PLURAL = "basemodels"


DAY = (
    "^[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
    "02-(0[1-9]|[12][0-9]))$"
)
"""But for the 29th of February; that rule of the CRD has no like here."""


class ChatTemplateSpec(Typed):
    """What the chat template is given beside the conversation."""

    variables: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=8)] = {}
    date: Annotated[str, Field(max_length=10, pattern=DAY)] | None = None

    @property
    def scalars(self) -> dict[str, Scalar]:
        """The variables' values."""
        return {name: scalar(text) for name, text in self.variables.items()}

    @property
    def day(self) -> datetime.date | None:
        """The date."""
        return None if self.date is None else datetime.date.fromisoformat(self.date)


def scalar(text: str) -> Scalar:
    """true, false, a number or a text in double quotes as in JSON; whatever is none of these is the text that it is."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    finite = not isinstance(found, float) or math.isfinite(found)
    return found if isinstance(found, bool | int | float | str) and finite else text


class BaseModelSpec(Typed):
    """What the platform team writes."""

    source: SourceText
    variants: Annotated[list[Variant], Field(min_length=1, max_length=4)] | None = None
    """On which every adapter is measured, besides those that its run asks for or that deployments serve."""
    chat_template: ChatTemplateSpec = ChatTemplateSpec()
    pod: PodSettings = PodSettings()
    """Of the inspection."""

    @property
    def claim(self) -> ClaimSource:
        """Where the files are. Its Job and mounts are made of that; programs are told where they find them."""
        return parse_claim(self.source)


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
    chat_template_prelude: str | None = None
    chat_template_date: str | None = None
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
