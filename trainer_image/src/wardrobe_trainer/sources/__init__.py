"""Fetching a dataset: one module for each scheme, which has one function."""

from pathlib import Path

from wardrobe_contracts.remote import RemoteFile, S3File
from wardrobe_trainer.console import say


def fetch(remote: RemoteFile, target: Path, source: str) -> None:
    """Put a file where the check reads it; what an earlier pod got of it is not fetched again.

    `source` is `spec.dataset.source`, for messages. Raises TaskError, which names what to mend.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(remote, S3File):
        from .s3 import fetch as fetch_from_s3  # noqa: PLC0415  each brings its own library

        fetch_from_s3(remote, target, source)
    else:
        from .hub import fetch as fetch_from_hub  # noqa: PLC0415

        fetch_from_hub(remote, target, source)
    say(f"fetched {target.stat().st_size} bytes")
