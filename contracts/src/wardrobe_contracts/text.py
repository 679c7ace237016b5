"""Texts that must fit somewhere."""


def shorten(text: str, limit: int) -> str:
    """The text, or its beginning with a mark that it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
