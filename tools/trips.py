"""Hold docs/trips.md against the code: what a trip names is defined there, and every figure is that of its list.

`python3 tools/trips.py` looks at all lists. Those of an old commit need the history, which a shallow clone has not.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "trips.md"
NEW = "+ "
"""Before a file that is added: one place. With names behind it it is there by now, without it is not there yet."""
_FENCE = re.compile(r"^```(?:way|places)$", re.MULTILINE)
_LIST = re.compile(r"^(?:Before, at (\w+)|Now[^:\n]*): (.+)\.\n\n```(way|places)\n((?:(?!```).*\n)*)```$", re.MULTILINE)
_ROW = re.compile(r"^\| \[[^\]]+\]\(#([^)]+)\)[^|]* \|([ \d|]+)\|$", re.MULTILINE)

Read = Callable[[str], str | None]
"""Text of a file that a list names; None where there is none."""


@dataclass(frozen=True)
class Trip:
    """One list, with the figures that the page gives it."""

    section: str
    commit: str | None
    """None for the working tree."""
    figures: str
    kind: str
    lines: tuple[str, ...]

    @property
    def counted(self) -> tuple[int, int]:
        """Files; and the goings back of a way, the places of an addition."""
        if self.kind == "way":
            files = {_file(line) for line in self.lines}
            return len(files), len(self.lines) - len(files)
        return len(self.lines), sum(map(_places, self.lines))

    @property
    def right(self) -> str:
        """The figures that it should have."""
        files, others = self.counted
        return f"{files} files, {others} {'goings back' if self.kind == 'way' else 'places'}"

    def __str__(self) -> str:
        return f"{self.section}, {f'at {self.commit}' if self.commit else 'now'}"


def trips(page: str) -> list[Trip]:
    """All lists, in the order of the page."""
    found = []
    for section in page.split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        found += [
            Trip(heading, commit or None, figures, kind, tuple(text.splitlines()))
            for commit, figures, kind, text in _LIST.findall(body)
        ]
    return found


def faults(page: str, repository: Path = REPOSITORY) -> list[str]:
    """What can be seen without history: figures that are not those of their lists, and what is not there now."""
    found = trips(page)
    fences = len(_FENCE.findall(page))
    read = partial(_in_tree, repository)
    return [
        *([f"{fences} lists, and only {len(found)} have figures"] if fences != len(found) else []),
        *(
            f"{trip}: it says {trip.figures!r}, and it is {trip.right!r}"
            for trip in found
            if trip.figures != trip.right
        ),
        *_faults_of_tables(page, found),
        *(fault for trip in found if trip.commit is None for fault in _lacking(trip, read)),
    ]


def faults_of_history(page: str, repository: Path = REPOSITORY) -> list[str]:
    """What lists of old commits name and was not there. Raises CalledProcessError where git has no such commit."""
    old = [(trip, partial(_at, repository, trip.commit)) for trip in trips(page) if trip.commit is not None]
    return [fault for trip, read in old for fault in _lacking(trip, read)]


def _faults_of_tables(page: str, found: list[Trip]) -> Iterator[str]:
    """A row has files before and now, then what else is counted before and now, then what was wished for."""
    rows = {anchor: [int(cell) for cell in cells.split("|")] for anchor, cells in _ROW.findall(page)}
    lists: dict[str, list[Trip]] = {anchor: [] for anchor in rows}
    for trip in found:
        lists.setdefault(_anchor(trip.section), []).append(trip)
    for anchor, of_section in lists.items():
        if anchor not in rows:
            yield f"{of_section[0].section}: it has no row in a table"
        elif len(of_section) < 2:
            yield f"#{anchor}: it has a row in a table, and not both lists"
        elif rows[anchor] != (right := _row(*of_section[:2])):
            yield f"{of_section[0].section}: its row has {rows[anchor]}, and it is {right}"


def _row(before: Trip, now: Trip) -> list[int]:
    """Half of the goings back was wished for, or two files."""
    files, others = zip(before.counted, now.counted, strict=True)
    return [*files, *others, others[0] // 2 if before.kind == "way" else 2]


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _lacking(trip: Trip, read: Read) -> Iterator[str]:
    for line in trip.lines:
        file, names = _file(line), _names(line)
        text = read(file)
        if line.startswith(NEW) and not names:
            yield from [f"{trip}: {file} is there already"] if text is not None else []
        elif text is None:
            yield f"{trip}: {file} is not there"
        else:
            known = _defined(file, text)
            yield from (
                f"{trip}: {file} has no {name}" for name in names if not name.startswith("+") and name not in known
            )
            yield from (
                f"{trip}: {file} has {name[1:]} already" for name in names if name.startswith("+") and name[1:] in known
            )


def _file(line: str) -> str:
    return line.removeprefix(NEW).partition(": ")[0]


def _names(line: str) -> list[str]:
    """Without their numbers; one that is to be added keeps its `+`."""
    listed = line.partition(": ")[2]
    return [name.partition("*")[0] for name in listed.split(", ")] if listed else []


def _places(line: str) -> int:
    """A new file is one place; `name*3` is three."""
    listed = line.partition(": ")[2].split(", ")
    return 1 if line.startswith(NEW) else sum(int(name.partition("*")[2] or 1) for name in listed)


@cache
def _defined(file: str, text: str) -> frozenset[str]:
    """Functions, classes and variables of Python; of any other file all words."""
    if not file.endswith(".py"):
        return frozenset(re.findall(r"\w+", text))
    nodes = list(ast.walk(ast.parse(text)))
    named = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    return frozenset(
        named | {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    )


def _in_tree(repository: Path, file: str) -> str | None:
    paths = (repository / file, *repository.glob(f"*/src/{file}"))
    return next((path.read_text() for path in paths if path.is_file()), None)


def _at(repository: Path, commit: str, file: str) -> str | None:
    tree = _git(repository, "ls-tree", "-r", "--full-tree", "--name-only", commit).splitlines()
    path = next((path for path in tree if path == file or path.endswith(f"/src/{file}")), None)
    return None if path is None else _git(repository, "show", f"{commit}:{path}")


@cache
def _git(repository: Path, *command: str) -> str:
    return subprocess.run(["git", *command], cwd=repository, check=True, text=True, stdout=subprocess.PIPE).stdout


def main() -> None:
    """Say what does not hold, and fail; or how many lists hold."""
    page = PAGE.read_text()
    if found := [*faults(page), *faults_of_history(page)]:
        sys.exit("\n".join(found))
    sys.stdout.write(f"{len(trips(page))} lists of {PAGE.name} hold\n")


if __name__ == "__main__":
    main()
