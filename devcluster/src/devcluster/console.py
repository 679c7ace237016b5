"""What the tool says to people, and the one error that it shows without a traceback."""

import sys


class DevclusterError(Exception):
    """Something a person can act on. `status` becomes the exit code of the command line."""

    def __init__(self, message: str, *, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def say(text: str) -> None:
    """Progress and explanations: standard error, so that output can be piped."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def answer(text: str) -> None:
    """The result a command was asked for: standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
