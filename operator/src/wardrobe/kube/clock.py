"""The apiserver's time: the one clock by which pauses are measured, wherever the operator runs.

What a pause begins with (a Job's end, a pod's deletion, a condition of ours) was written by the control plane's clock,
or by an operator on another node. A node whose clock is an hour wrong must not make a pause an hour long.
"""

import datetime
import email.utils
import time
from collections.abc import Callable

TOLERATED_SECONDS = 2.0
"""The apiserver tells its time in whole seconds, a request late: a smaller difference is none."""


class ApiClock:
    """Goes by a monotonic clock from what the apiserver last said; by this machine's until it has said anything."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ahead = wall() - monotonic()
        self._heard = False

    def hear(self, date: str | None) -> None:
        """Take over the Date of an answer."""
        try:
            told = email.utils.parsedate_to_datetime(date or "").timestamp()
        except ValueError:  # a proxy that sends none, or nonsense
            return
        if not self._heard or abs(told - self.seconds()) > TOLERATED_SECONDS:
            self._ahead = told - self._monotonic()
            self._heard = True

    def seconds(self) -> float:
        """Since the epoch."""
        return self._monotonic() + self._ahead

    def timestamp(self) -> str:
        """Now, as the API writes times."""
        return datetime.datetime.fromtimestamp(self.seconds(), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
