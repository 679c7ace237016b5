"""Hold docs/trips.md against the code: what a trip names is there at its commit, and its figures are its own."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "trips.md"
_TRIP = re.compile(r"^\w+, at (\w+): ([^\n]+)\.\n\n```(way|places)\n(.+?)^```$", re.MULTILINE | re.DOTALL)
_NEW = "+ "
"""Before a file that is added."""


def faults(page: str) -> list[str]:
    """What of the page does not hold, in words."""
    found = []
    for commit, said, kind, text in _TRIP.findall(page):
        lines = text.splitlines()
        counted = _way(lines) if kind == "way" else _places(lines)
        found += [f"{lines[0]}, at {commit}: it says {said!r}, and it is {counted!r}"] if said != counted else []
        found += [f"{line}, at {commit}: {lacks} is not there" for line in lines for lacks in _lacking(line, commit)]
    return found


def _way(lines: list[str]) -> str:
    """A line is a visit; whoever visits a file again has gone back."""
    files = [line.partition(":")[0] for line in lines]
    return f"{len(set(files))} files, {len(files) - len(set(files))} goings back"


def _places(lines: list[str]) -> str:
    """A new file is one place; `name*3` is three."""
    names = [name for line in lines for name in (line.partition(": ")[2] or line).split(", ")]
    return f"{len(lines)} files, {sum(int(name.partition('*')[2] or 1) for name in names)} places"


def _lacking(line: str, commit: str) -> list[str]:
    if line.startswith(_NEW):
        return []
    file, _, names = line.partition(": ")
    tree = _git("ls-tree", "-r", "--full-tree", "--name-only", commit).splitlines()
    path = next((path for path in tree if path == file or path.endswith(f"/src/{file}")), None)
    if path is None:
        return [file]
    source = _git("show", f"{commit}:{path}")
    return [name for name in re.split(r"(?:\*\d+)?(?:, |$)", names) if not re.search(rf"\b{re.escape(name)}\b", source)]


def _git(*command: str) -> str:
    return subprocess.run(["git", *command], cwd=PAGE.parent, check=True, text=True, stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    sys.exit("\n".join(faults(PAGE.read_text())) or None)
