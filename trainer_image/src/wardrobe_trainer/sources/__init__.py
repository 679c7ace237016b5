"""Fetching files: one module for each scheme, which has one function for it.

A pod writes to a folder of its own (`taken_over`), as another of the same run may be at work beside it. One that is
told to stop, or whose server does not answer, leaves it to the pod that follows (`hand_over`).
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from wardrobe_contracts.check import FETCHED_FILE
from wardrobe_contracts.remote import RemoteFile, S3File
from wardrobe_trainer.console import say
from wardrobe_trainer.files import pod

from .faults import Asked

LEFT = f"{FETCHED_FILE}.left"


def taken_over(output: Path) -> Path:
    """This pod's folder for what it fetches, with what an earlier one has left to it. Raises OSError."""
    own = _own(output)
    try:
        (output / LEFT).rename(own)
    except FileNotFoundError:
        own.mkdir(parents=True, exist_ok=True)
    os.utime(own)  # so that it does not look like what a pod left a day ago
    return own


def hand_over(output: Path) -> None:
    """Leave what was fetched to the pod that follows; it is not written to any more."""
    own = _own(output)
    with suppress(OSError):  # there is none; or another pod has left as much
        own.rename(output / LEFT)
    shutil.rmtree(own, ignore_errors=True)


def forget(output: Path) -> None:
    """Remove what was fetched, by whichever pod: the task's end is recorded, and who is still at work finds that."""
    for path in (output / LEFT, *output.glob(f".{FETCHED_FILE}.*")):
        shutil.rmtree(path, ignore_errors=True)


def fetch(remote: RemoteFile, target: Path, asked: Asked) -> None:
    """Put a file where its task reads it; what an earlier pod got of it is not fetched again.

    Raises TaskError, which names what to mend.
    """
    if target.exists():
        return
    if isinstance(remote, S3File):
        from .s3 import fetch as fetch_from_s3  # noqa: PLC0415  each brings its own library

        fetch_from_s3(remote, target, asked)
    else:
        from .hub import fetch as fetch_from_hub  # noqa: PLC0415

        fetch_from_hub(remote, target, asked)
    say(f"fetched {target.stat().st_size} bytes")


def _own(output: Path) -> Path:
    return output / f".{FETCHED_FILE}.{pod()}"
