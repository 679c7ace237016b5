"""Where a run's checkpoints are. Apart from what is in them, which takes torch to read."""

import shutil
from pathlib import Path

FOLDER = "checkpoints"


def all_of(run: Path) -> list[Path]:
    """Of every attempt of a run, the newest first."""
    found = [path for path in run.glob(f"*/{FOLDER}/*") if path.name.isdecimal()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def forget(run: Path) -> None:
    """All of them, those that came to no end too: what was trained is there."""
    for folder in run.glob(f"*/{FOLDER}"):
        shutil.rmtree(folder, ignore_errors=True)
