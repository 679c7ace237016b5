"""Waiting for a condition with a deadline. The only place that sleeps."""

import time
from collections.abc import Callable

from devcluster.console import DevclusterError

POLL_SECONDS = 0.05


def until(condition: Callable[[], bool], *, seconds: float, every: float = POLL_SECONDS) -> bool:
    """True as soon as `condition` holds, False when it has not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def require(condition: Callable[[], bool], *, seconds: float, what: str, every: float = POLL_SECONDS) -> None:
    """Like `until`; raises DevclusterError that names `what` when the deadline passes."""
    if not until(condition, seconds=seconds, every=every):
        raise DevclusterError(f"waited {seconds:g} s for {what}")
