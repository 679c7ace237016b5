"""Writing files so that a reader, or a later run after a crash, finds a whole file or none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_durably(path: Path, data: bytes) -> None:
    """Replace `path` in one step, on disk before this returns. Raises OSError."""
    with durably(path) as file:
        file.write(data)


@contextmanager
def durably(path: Path) -> Iterator[BinaryIO]:
    """The block writes what replaces `path` in one step, and on disk, once it has ended well. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is on disk only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make the files directly in a folder durable, and the folder itself."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


@contextmanager
def named_when_whole(unfinished: Path, final: Path) -> Iterator[None]:
    """The block fills `unfinished`, which then is made durable and renamed. Neither has anything of an earlier try."""
    for left in (unfinished, final):
        shutil.rmtree(left, ignore_errors=True)
    yield
    sync_tree(unfinished)
    unfinished.rename(final)
    sync_folder(final.parent)
