"""Bases and scalar types that all contracts share."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PositiveInt,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
"""A sha256 in the form `sha256:<64 hex digits>`."""
AdapterName = Annotated[str, StringConstraints(min_length=1, max_length=253)]
"""Name of an Adapter: its line and its version, `cardiology-v3`."""
Task = Literal["inspect", "check", "import", "train", "assess", "release", "verify"]
"""Programs of the trainer image: one per stage that is a Job."""

Fingerprint = Annotated[str, StringConstraints(pattern=r"^(sampled:)?sha256:[0-9a-f]{64}$")]
"""Of a base model's files, see `digests.fingerprint`; without `sampled:` in the older form, which skipped weights."""


class Record(BaseModel):
    """A part of what crosses a process. Unknown fields are skipped, so that who wrote it may be newer.

    Numbers are finite: `1e999` is infinite as soon as it is read, and then whatever it is compared with is near.
    """

    model_config = ConfigDict(
        extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )


class Exchanged(Record):
    """What two parts of Wardrobe, perhaps of two releases, tell each other: the whole of it, with a format number.

    Written in this release's format; read in that and in format 0, First light's, which has no number. What is read is
    held in this release's format, whatever it was written in. Of a newer one is read what is understood; where that is
    not enough, the error names both numbers. See docs/adr/0021-formats.md, also on when a format rises.
    """

    format: PositiveInt = 1

    _newer_is_refused: ClassVar[bool] = False

    @classmethod
    def from_format_0(cls, given: dict[str, Any]) -> dict[str, Any]:
        """First light's JSON as today's."""
        return given

    @model_validator(mode="wrap")
    @classmethod
    def _in_any_format(cls, given: Any, validate: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if info.mode != "json" or not isinstance(given, dict):
            return validate(given)
        theirs, ours = _format_of(given), cls.model_fields["format"].default
        if theirs > ours and cls._newer_is_refused:
            raise ValueError(_NEWER.format(theirs, ours, "a setting must not be skipped"))
        try:
            return validate((given if theirs else cls.from_format_0(given)) | {"format": ours})
        except ValidationError as error:
            if theirs <= ours:
                raise
            raise ValueError(_NEWER.format(theirs, ours, first_error(error))) from error


class Order(Exchanged):
    """What a program is told to do. Of a newer format it is refused: what was added there must be done."""

    _newer_is_refused = True


_NEWER = (
    "format is {}: this release of Wardrobe reads formats up to {} ({}). Run all parts of Wardrobe in the newer release"
)


FAULTS = 5
"""Of one text, that a message names."""


def _format_of(given: dict[str, Any]) -> int:
    found = given.get("format", 0)
    if type(found) is not int or found < 0:
        raise ValueError(f"format is {found!r:.40}: it must be a whole number. Report this as a defect")
    return found


def first_error(error: ValidationError) -> str:
    """What is wrong, by field; without the values, which may be a person's words."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    told = [": ".join([*filter(None, [".".join(map(str, fault["loc"]))]), fault["msg"]]) for fault in faults[:FAULTS]]
    return "; ".join([*told, *([f"and {len(faults) - FAULTS} more"] if len(faults) > FAULTS else [])])


class Variant(StrEnum):
    """How the frozen base is held in memory while an adapter is trained or answers on it."""

    NONE = "None"
    INT8 = "INT8"
    NF4 = "NF4"
    FP4 = "FP4"


class Method(StrEnum):
    """How a run comes to what it publishes."""

    LORA = "LoRA"
    QLORA = "QLoRA"
    FULL = "Full"
    IMPORT = "Import"
    """An adapter that was trained elsewhere, or by another run; nothing is trained."""


class Accelerator(StrEnum):
    """The device a task computes on."""

    CPU = "CPU"
    GPU = "GPU"


class TaskPayload(Record):
    """What a task found or made."""

    def shortened(self, limit: int) -> Self:
        """With texts of about so many characters at most, so that it fits into a termination message."""
        del limit
        return self


class BaseLocation(Record):
    """Where a base model's files are in the pod, how to tell that they are those that were inspected, and how
    conversations are written for it."""

    folder: str
    fingerprint: Fingerprint
    chat_prelude: str = ""
    """What is put before its chat template, as the inspection found it."""


def base_from_format_0(given: dict[str, Any]) -> dict[str, Any]:
    """The location in an order of format 0."""
    return {"folder": given.get("baseFolder"), "fingerprint": given.get("baseFingerprint")}
