"""What readers have in common: the lines that they give, and what is wrong with a whole file."""

from dataclasses import dataclass

from wardrobe_contracts.exits import Reason

from ..dataset import FIELD
from ..problems import TaskError, bad_data


@dataclass(frozen=True)
class Line:
    """A row as JSON, not yet parsed, made of at most `dataset.ROW_LIMIT` bytes."""

    number: int
    text: str


def malformed(source: str, rule: str, next_step: str, field: str = FIELD) -> TaskError:
    """The file as a whole cannot be read on."""
    return bad_data(Reason.DATASET_MALFORMED, field=field, value=source, rule=rule, next_step=next_step)


def decoded(data: bytes, number: int, start: int, source: str) -> str:
    """A row's bytes, which begin at `start` of the file, as text. Raises TaskError."""
    try:
        return data.decode("utf-8-sig" if start == 0 else "utf-8")
    except UnicodeDecodeError as error:
        rule = f"row {number} is not UTF-8 text (byte {start + error.start} of the file)"
        raise malformed(source, rule, "Save the file as UTF-8") from error
