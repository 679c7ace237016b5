"""`python -m wardrobe_docs`: write the generated pages to docs/."""

from collections.abc import Callable
from pathlib import Path

from . import conditions, metrics

FOLDER = Path(__file__).parents[1]
PAGES: dict[str, Callable[[], str]] = {"conditions.md": conditions.page, "metrics.md": metrics.page}


def stale(folder: Path) -> list[str]:
    """Names of generated pages that are missing or not what the code says now."""
    return [name for name, page in PAGES.items() if not _is(folder / name, page())]


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())


if __name__ == "__main__":
    main()
