"""Waiting for a condition, with what was waited for in the failure."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HANG = 600.0
"""Seconds that only end a hang; nothing takes so long on the slowest machine."""


def eventually(
    check: Callable[[], T | None], *, within: float = HANG, what: str | Callable[[], str], every: float = 0.1
) -> T:
    """The first true value of `check`; AssertionError after `within` seconds."""
    deadline = time.monotonic() + within
    while not (value := check()):
        if time.monotonic() > deadline:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {within:g} s: {said}")
        time.sleep(every)
    return value
