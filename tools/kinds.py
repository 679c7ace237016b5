"""`make kinds`: write crds/ and the chart's copies from crds/source.

A source is a CRD as it is applied, but for lines `$fragment: NAME`. Each stands for the text of
crds/source/fragments/NAME.yaml at that depth, so that what kinds share is written once, and looks in crds/ as if it had
been written there.
"""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "crds" / "source"
WRITTEN_TO = (REPOSITORY / "crds", REPOSITORY / "charts" / "wardrobe" / "files" / "crds")
HEADER = "# Written by `make kinds` from crds/source: change it there.\n"
_REFERENCE = re.compile(r"^( *)\$fragment: (.+)\n", re.MULTILINE)


def render(source: Path = SOURCE) -> dict[str, str]:
    """File name to contents, for every kind. Raises FileNotFoundError for a fragment that there is not."""
    return {path.name: HEADER + _expand(path.read_text(), source) for path in sorted(source.glob("*.yaml"))}


def stale(folder: Path) -> list[str]:
    """Names of files that are missing, differ, or belong to no kind."""
    wanted = render()
    found = {path.name: path.read_text() for path in folder.glob("*.yaml")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def _expand(text: str, source: Path) -> str:
    def fragment(reference: re.Match[str]) -> str:
        depth, name = reference.groups()
        inner = _expand((source / "fragments" / f"{name}.yaml").read_text(), source)
        return "".join(depth + line for line in inner.splitlines(keepends=True))

    return _REFERENCE.sub(fragment, text)


def main() -> None:
    """Write all files."""
    for folder in WRITTEN_TO:
        for name, text in render().items():
            (folder / name).write_text(text)


if __name__ == "__main__":
    main()
