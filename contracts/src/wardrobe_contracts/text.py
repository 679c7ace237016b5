"""Texts that must fit somewhere."""

from collections.abc import Sequence


def encodable(text: str) -> str:
    """The text with halves of surrogate pairs written out: JSON may hold them alone, and UTF-8 has none."""
    return text.encode(errors="backslashreplace").decode()


def shorten(text: str, limit: int) -> str:
    """The text, or its beginning with a mark that it was cut; encodable."""
    text = encodable(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def last_that_fit(lines: Sequence[str], limit: int) -> list[str]:
    """Of all lines the last ones, together of at most so many characters with their ends."""
    kept: list[str] = []
    for line in reversed(lines):
        limit -= len(line) + 1
        if limit < 0:
            break
        kept.insert(0, line)
    return kept
