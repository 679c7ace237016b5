"""Texts that must fit somewhere."""

from collections.abc import Sequence


def shorten(text: str, limit: int) -> str:
    """The text, or its beginning with a mark that it was cut."""
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
