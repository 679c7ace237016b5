"""Whether the store can do what publishing takes: sync, and rename in one step. Tried before anything is trained.

What one pod cannot see is whether a rename is one step for others as well. A volume that shows an object store as files
and copies each of them under the new name passes.
"""

import errno
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.paths import STORE_CLAIM
from wardrobe_contracts.problem import Problem

from .console import say
from .files import pod, sync_folder, write_durably
from .problems import TaskError
from .task import STORE_ERRORS

PAUSES = (1.0, 5.0, 15.0)
"""Seconds before it is tried again where the volume says EIO, which a disk may say once, and some filesystems say of
what they cannot do."""
MOUNTS = Path("/proc/self/mountinfo")
FILE, CONTENT = "file", b"what is published must read back\n"


class RefusedError(Exception):
    """The store does not do one of the things."""

    def __init__(self, doing: str, at: Path, came: str, number: int | None = None) -> None:
        super().__init__(f"{doing} {at} {came}")
        self.number = number
        """The error's, where there was one."""


def require_suitable(folder: Path, pauses: Sequence[float] = PAUSES) -> None:
    """Try in a folder of the store what publishing does. Nothing stays.

    Raises TaskError (StoreUnsuitable), and OSError where the volume is full, read-only or gone.
    """
    for pause in (*pauses, None):
        try:
            _try_out(folder)
            return
        except RefusedError as refused:
            if refused.number != errno.EIO or pause is None:
                raise _unsuitable(folder, refused) from refused
            say(f"{refused}; it is tried again in {pause:g} s")
            time.sleep(pause)


def _try_out(folder: Path) -> None:
    own = folder / f".try.{pod()}"
    try:
        _rename(own, *(_written(own / name) for name in ("unfinished", "other")))
        with _doing("replacing a file at", own / FILE):
            for _ in range(2):
                write_durably(own / FILE, CONTENT)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _written(folder: Path) -> Path:
    """A folder with a file, both on disk."""
    with _doing("making the folder", folder):
        folder.mkdir(parents=True)
    with _doing("writing", folder / FILE):
        (folder / FILE).write_bytes(CONTENT)
    with _doing("syncing the file", folder / FILE), (folder / FILE).open("rb") as file:
        os.fsync(file.fileno())
    with _doing("syncing the folder", folder):
        sync_folder(folder)
    return folder


def _rename(own: Path, unfinished: Path, other: Path) -> None:
    """As publishing does it: to a name that is free, and not to one that another pod was first with."""
    finished = own / "finished"
    with _doing(f"renaming the folder {unfinished} to", finished):
        unfinished.rename(finished)
    with _doing("reading after the rename", finished / FILE):
        found = (finished / FILE).read_bytes()
    if found != CONTENT or unfinished.exists():
        raise RefusedError(f"renaming the folder {unfinished} to", finished, "left the old name, or other content")
    with _doing("syncing the folder", own):
        sync_folder(own)
    try:
        other.rename(finished)
    except OSError:
        return
    raise RefusedError(f"renaming the folder {other} to", finished, "replaced a folder that was there")


@contextmanager
def _doing(doing: str, at: Path) -> Iterator[None]:
    """What fails in the block is refused; but for what says that the volume is full, read-only or gone."""
    try:
        yield
    except OSError as error:
        if error.errno in STORE_ERRORS - {errno.EIO}:
            raise
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise RefusedError(doing, at, f"failed: {error.strerror or error} ({name})", error.errno) from error


def _unsuitable(folder: Path, refused: RefusedError) -> TaskError:
    problem = Problem(
        field=f"the claim {STORE_CLAIM}",
        value=_filesystem(folder),
        rule=f"{refused}, which publishing cannot do without",
        next_step=f"Give the claim a volume that renames folders in one step and syncs files and folders for user "
        f"{os.getuid()}, such as NFS, CephFS or a disk of the node, and create the run again",
    )
    return TaskError(ExitCode.BAD_CONFIG, Reason.STORE_UNSUITABLE, problem)


def _filesystem(folder: Path) -> str:
    """Type and place of the mount that a folder is in, as `proc_pid_mountinfo(5)` has them."""
    mounts: dict[Path, str] = {}
    for line in MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        mounts[Path(before.split()[4])] = after.split()[0]
    place = next(path for path in (folder, *folder.parents) if path in mounts)
    return f"{mounts[place]} at {place}"
