"""Files in folders that others write, too."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class IrregularError(OSError):
    """A folder, a pipe or a device."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file, to be read: opening a pipe would wait for ever. Raises OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123  pathlib takes no flags
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise IrregularError(f"{path.name} is no regular file")
        yield file
