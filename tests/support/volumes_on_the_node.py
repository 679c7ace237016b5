"""Claims' folders on the node that are small, and full."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from devcluster import volumes

MIB = 2**20


@contextlib.contextmanager
def small(folder: Path) -> Iterator[None]:
    """A volume of its own under a folder, which pods are to mount."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    try:
        volumes.open_to_group(folder)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte more fits while the block runs."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(MIB))
            file.flush()
    try:
        yield
    finally:
        filler.unlink()
