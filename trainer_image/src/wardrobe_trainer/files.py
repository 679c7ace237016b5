"""Writing files so that a reader, or a later run after a crash, finds a whole file or none."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from wardrobe_contracts.paths import POD_UID_VARIABLE

from .console import say

LEFT_SECONDS = 24 * 3600
"""Whoever still works writes more often: a copy of 8 GiB takes a quarter of an hour on a slow volume."""
_UNTOLD = str(uuid.uuid4())


def pod() -> str:
    """Whose an unfinished file or folder is: the pod's uid; a word of this process where an older operator tells none.

    Two pods of one run may work at once: one whose node is not reached, and the one that was made in its place.
    """
    return os.environ.get(POD_UID_VARIABLE) or _UNTOLD


def write_durably(path: Path, data: bytes) -> None:
    """Replace `path` in one step, on disk before this returns. Raises OSError."""
    with durably(path) as file:
        file.write(data)


@contextmanager
def durably(path: Path) -> Iterator[BinaryIO]:
    """The block writes what replaces `path` in one step, and on disk, once it has ended well. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{pod()}.{os.getpid()}")
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


def clear_left(folder: Path) -> None:
    """Remove what killed pods left unfinished: hidden entries of a folder in which nothing was written for a day.

    A younger one may be that of a pod that still works. What cannot be removed stays, and is said. Raises OSError where
    the folder cannot be read.
    """
    if not folder.is_dir():
        return
    os.utime(folder)
    now = folder.stat().st_mtime  # by the clock that stamps files there: nodes' may be hours wrong
    for path in folder.glob(".*"):
        if path.name.startswith(".nfs"):  # a client's own, of a file that is deleted and still open
            continue
        try:
            if now - _written(path) > LEFT_SECONDS:
                _take_away(path)
        except FileNotFoundError:  # another pod clears as well
            continue
        except OSError as error:
            say(f"{path.name}, which a killed pod left, cannot be removed: {error.strerror}")


def _written(path: Path) -> float:
    """When last, in it or to it."""
    return max(found.lstat().st_mtime for found in (path, *path.rglob("*")))


def _take_away(path: Path) -> None:
    """Its name first: who should be at work on it after all cannot publish what already lacks a file."""
    gone = path.rename(path.with_name(f".gone.{pod()}"))
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()


@contextmanager
def named_when_whole(unfinished: Path, final: Path) -> Iterator[None]:
    """The block fills `unfinished`, which then is made durable and renamed. Neither has anything of an earlier try."""
    for left in (unfinished, final):
        shutil.rmtree(left, ignore_errors=True)
    yield
    sync_tree(unfinished)
    unfinished.rename(final)
    sync_folder(final.parent)
