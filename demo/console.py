"""What the demo prints: plain text, and colours only where a person looks at a terminal."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from .layout import command_lines, paragraph, progress_line

LOG_EVERY = 5.0
"""Seconds between two lines of progress where lines cannot be redrawn."""


class DemoError(Exception):
    """Something that a person can act on; the message says how."""


def coloured(stream: TextIO) -> bool:
    """Whether colours are welcome: https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def heading(text: str) -> None:
    """The beginning of an act."""
    say()
    say(_styled("1", text))


def tell(text: str) -> None:
    """An explanation, wrapped."""
    for line in paragraph(text, 97):
        say(f"   {line}")


def done(text: str) -> None:
    """Something is as it should be."""
    for number, line in enumerate(paragraph(text, 97)):
        say(f"   {line}" if number else _styled("32", f" ✓ {line}"))


def command(line: str) -> None:
    """A command as somebody would type it."""
    say()
    for number, part in enumerate(command_lines(line, 95)):
        say(_styled("36", f"     {part}" if number else f"   $ {part}"))


def block(text: str) -> None:
    """What a command said, or a file."""
    for line in text.rstrip("\n").splitlines():
        say(f"     {line}".rstrip())


def _styled(code: str, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if coloured(sys.stdout) else text


class Progress:
    """One line that says how far a long step is: redrawn on a terminal, else written again every few seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._redrawn = sys.stdout.isatty()
        self._written = -LOG_EVERY

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self._began

    def show(self, text: str) -> None:
        """Say how far it is."""
        elapsed = self.elapsed
        if self._redrawn:
            sys.stdout.write(f"\r{progress_line(elapsed, text)}\x1b[K")
            sys.stdout.flush()
        elif elapsed - self._written >= LOG_EVERY:
            self._written = elapsed
            say(progress_line(elapsed, text))

    def leave(self, text: str) -> None:
        """Say how far it is, for good."""
        self.clear()
        say(progress_line(self.elapsed, text))

    def clear(self) -> None:
        """Make room for other lines."""
        if self._redrawn:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()


@contextmanager
def going_on(text: str) -> Iterator[Progress]:
    """Say every second that the block still runs."""
    progress, ended = Progress(), threading.Event()

    def repeat() -> None:
        while not ended.wait(1):
            progress.show(text)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        ended.set()
        thread.join()
        progress.clear()
