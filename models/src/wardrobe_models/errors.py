"""What both programs find at fault in a base."""


class BadBaseError(Exception):
    """The base cannot be used; the text says why."""
