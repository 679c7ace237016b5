"""Task `import`: an adapter that was trained elsewhere, or by another run, is taken and held to all that ours are."""

from typing import Literal

from pydantic import PositiveInt

from .base import BaseLocation, Digest, Order, TaskPayload
from .manifest import BaseReference
from .remote import S3Folder
from .training import Lora

MOST_RANK, MOST_ALPHA, MOST_MODULES, MOST_NAME = 512, 4096, 64, 128
"""What an Adapter's spec can say of its size: rank, alpha, names of layers, and characters of one."""


class ImportConfig(Order):
    """Order to take both files of an adapter, to check them, and to leave them where assess finds them.

    They go to `<output_folder>/adapter`, as they were.
    """

    base: BaseLocation
    base_reference: BaseReference
    """The same base: an adapter whose manifest names another is refused."""
    source: str
    """`spec.adapter.source` as the person wrote it, for messages."""
    folder: str
    """Where the files are in the pod; what `fetch` names is in the pod's own folder instead."""
    fetch: S3Folder | None = None
    """Where they are, if not in the pod; the copy is gone once they are taken."""
    digest: Digest | None = None
    """What both files must have together, as `digests.of_files` says; None for any."""
    output_folder: str


class Imported(TaskPayload):
    """What was taken."""

    task: Literal["import"] = "import"
    digest: Digest
    """Of both files as they were."""
    size_bytes: PositiveInt
    lora: Lora
    """By its files. Target modules by the last parts of the names of those that it adapts, which are few."""
