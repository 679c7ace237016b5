"""How text is laid out in a terminal of 100 columns. Pure."""

import re
import shlex
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

WIDTH = 100
GAP = 3
CELLS = re.compile(r"\S+(?: \S+)*")


def side_by_side(columns: Sequence[tuple[str, str]], width: int = WIDTH) -> list[str]:
    """Headings and texts as columns of equal width, each text wrapped within its own."""
    each = (width - GAP * (len(columns) - 1)) // len(columns)
    wrapped = [[*_wrap(heading, each), "-" * each, *_wrap(text, each)] for heading, text in columns]
    rows = zip_longest(*_same_headings(wrapped, each), fillvalue="")
    return [(" " * GAP).join(cell.ljust(each) for cell in row).rstrip() for row in rows]


def _same_headings(columns: list[list[str]], each: int) -> list[list[str]]:
    """Rules on one line, where one heading takes more lines than another."""
    rule = "-" * each
    tallest = max(column.index(rule) for column in columns)
    return [[""] * (tallest - column.index(rule)) + column for column in columns]


def _wrap(text: str, width: int) -> list[str]:
    return [line for part in text.splitlines() for line in textwrap.wrap(part, width) or [""]]


def paragraph(text: str, width: int = WIDTH) -> list[str]:
    """Words in lines."""
    return textwrap.wrap(" ".join(text.split()), width)


def command_lines(line: str, width: int = WIDTH) -> list[str]:
    """A command in lines that the shell puts together again; an argument is broken only where it is itself."""
    lines: list[str] = []
    for part in _arguments(line):
        if lines and len(lines[-1]) + max(map(len, part.split("\n"))) + 3 <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(f"    {part}" if lines else part)
    return "".join(f"{line} \\\n" for line in lines[:-1]).splitlines() + lines[-1].splitlines()


def _arguments(line: str) -> list[str]:
    """Words with their quotes, an option together with its value."""
    parts: list[str] = []
    for word in shlex.split(line, posix=False):
        if parts and re.fullmatch("--?[A-Za-z-]+", parts[-1]) and not word.startswith("-"):
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    return parts


def tables(text: str, width: int = WIDTH) -> list[str]:
    """kubectl's tables, narrower: API groups are left out, and columns that do not fit come below the others."""
    lines: list[str] = []
    for table in re.split(r"\n\s*\n", text.strip("\n")):
        lines += [*([""] if lines else []), *_fold(_cells(table.splitlines()), width)]
    return lines


def _cells(lines: list[str]) -> list[list[str]]:
    starts = [found.start() for found in CELLS.finditer(lines[0])]
    ends = [*starts[1:], None]
    rows = [[line[start:end].strip() for start, end in zip(starts, ends, strict=True)] for line in lines]
    return [[row[0].replace(".wardrobe.dev/", "/"), *row[1:]] for row in rows]


def _fold(rows: list[list[str]], width: int) -> list[str]:
    """As many columns as fit, then the rest, set in."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    fitting = next((n for n in range(len(widths), 1, -1) if sum(widths[:n]) + 2 * (n - 1) <= width), 1)
    shown = [
        "  ".join(cell.ljust(space) for cell, space in zip(row[:fitting], widths[:fitting], strict=True)).rstrip()
        for row in rows
    ]
    if fitting == len(widths):
        return shown
    rest = _fold([row[fitting:] for row in rows], width - 4)
    return [*shown, *(f"    {line}".rstrip() for line in rest)]


def duration(seconds: float) -> str:
    """`0.31 s`, `42 s`, `3 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def progress_line(elapsed: float, text: str, width: int = WIDTH) -> str:
    """One line that never wraps: how long it has gone on, and how far it is."""
    line = f"  … {int(elapsed) // 60}:{int(elapsed) % 60:02}  {' '.join(text.split())}"
    return line if len(line) <= width else f"{line[: width - 1]}…"
