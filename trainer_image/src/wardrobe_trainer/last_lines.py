"""The last lines of a rank, which the Event of its failure tells: kept in files of its folder, where they outlive it.

An Event is read by more people than a pod's log, and the rows are private. So what a rank and its libraries print is
not taken: it goes to the log, whole and at once, as the launcher's own does, and a library may quote a row in it (Rust
prints the text that a tokenizer panics over). Kept is what cannot: our own lines (`console.say`), where an unforeseen
error came from without its text (unquoted.py), and the stack at which a signal killed Python. No values, only code.
"""

import faulthandler
import logging
from pathlib import Path
from typing import TextIO

from wardrobe_contracts.text import shorten

from . import console

FILE = "lines"
FATAL_FILE = "fatal"
BEFORE_FILE = "lines-before"
KEPT_BYTES = 65_536
"""Of a file: one that has more becomes the one of before, and another begins."""
READ_CHARACTERS = 4000
LINES, LENGTH = 12, 160
"""At most so many lines of at most so many characters."""
FATAL_LINES = 6
"""Of the stack, which begins with where it ended."""


class _Kept(logging.StreamHandler[TextIO]):
    """Into two files by turns, which do not grow for ever."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        super().__init__((folder / FILE).open("w"))

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream.tell() > KEPT_BYTES:
            (self._folder / FILE).replace(self._folder / BEFORE_FILE)
            if full := self.setStream((self._folder / FILE).open("w")):
                full.close()
        super().emit(record)


def keep(folder: Path) -> None:
    """From now on this process's lines are kept in the folder."""
    console.also(_Kept(folder))
    faulthandler.enable((folder / FATAL_FILE).open("w"), all_threads=False)


def of(folder: Path) -> list[str]:
    """What a rank left, the newest last."""
    fatal = _lines(stack(folder))[:FATAL_LINES]
    kept = _lines((_read(folder / BEFORE_FILE) + _read(folder / FILE))[-READ_CHARACTERS:])
    return [*kept[-(LINES - len(fatal)) :], *fatal]


def stack(folder: Path) -> str:
    """Where a signal killed it; empty where none did, or none that a process can catch."""
    return _read(folder / FATAL_FILE)[:READ_CHARACTERS]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _lines(text: str) -> list[str]:
    """Without those that only mark a place in the line above."""
    shown = ("".join(char if char.isprintable() else " " for char in line) for line in text.splitlines())
    return [shorten(line.rstrip(), LENGTH) for line in shown if line.strip(" ^~")]
