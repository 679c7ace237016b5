"""How the rows of a dataset are written: the file's format, and which of its columns hold what."""

from enum import StrEnum

from .base import Record


class FileFormat(StrEnum):
    """Formats of a dataset's file, as in `spec.dataset.format`. Each is a file of trainer_image/readers."""

    JSONL = "JSONL"
    """A JSON object on each line."""
    JSON = "JSON"
    """One array of objects."""
    CSV = "CSV"
    """RFC 4180, with the columns' names in the first row."""
    PARQUET = "Parquet"


class Columns(Record):
    """Names of the columns (of JSON: the keys) that hold a row: one layout of LAYOUTS, the others None."""

    messages: str | None = None
    prompt: str | None = None
    completion: str | None = None
    text: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """Names by what they hold."""
        return {held: name for held, name in self if name is not None}


LAYOUTS: tuple[tuple[str, ...], ...] = (("messages",), ("prompt", "completion"), ("text",))
"""What holds a row: a conversation; one question with its answer; a text that is learnt as it stands, as no answer."""
