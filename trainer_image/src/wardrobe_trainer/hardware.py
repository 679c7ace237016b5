"""The container's memory, by cgroup version 1 or 2: whether the kernel killed processes for it, or soon will."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MEMORY_EVENTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""Of cgroup version 2 and 1; both have a line `oom_kill <count>`."""


def out_of_memory_kills(events: Sequence[Path] = MEMORY_EVENTS) -> int:
    """How many processes of this container the kernel has killed for memory."""
    fields = dict(line.split() for path in events for line in _read(path).splitlines())
    return int(fields.get("oom_kill", 0))


def _read(path: Path) -> str:
    """Contents of a control file, or nothing where this kernel or sandbox does not show it."""
    try:
        return path.read_text()
    except OSError:
        return ""


MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of cgroup version 2 and 1: bytes, or a word for none."""
KERNEL_SHARE = 0.01
"""Of the limit, what the kernel takes for the processes' page tables and the like."""
POLL_BYTES = 64 * 2**20
"""What a process takes between two looks at it."""


@dataclass(frozen=True)
class Room:
    """The container's memory, shared by this process and one that it has started.

    At the limit the kernel kills all processes of a container together (the kubelet sets memory.oom.group), this one
    with the other. Who looks often enough ends the other before.
    """

    limit: int | None
    """Bytes; None where there is none, or this sandbox does not show it."""

    @classmethod
    def of_container(cls, limits: Sequence[Path] = MEMORY_LIMITS) -> Self:
        """As the kernel shows it."""
        found = next((text for text in map(_read, limits) if text), "").strip()
        return cls(int(found) if found.isdecimal() and int(found) < 2**60 else None)

    def is_full(self, taken: int) -> bool:
        """Whether both processes together will be at the limit by the next look; the other has `taken` so much."""
        if self.limit is None:
            return False
        return taken + taken_bytes(os.getpid()) > self.limit * (1 - KERNEL_SHARE) - POLL_BYTES


def taken_bytes(pid: int) -> int:
    """Of memory that a process has and that the kernel cannot drop, as it can what is mapped from files.

    Nothing of one that has ended.
    """
    return _status(pid, "RssAnon:", "RssShmem:")


def peak_bytes(pid: int) -> int:
    """Of memory that a process has had at once, mapped files among it."""
    return _status(pid, "VmHWM:")


def _status(pid: int, *names: str) -> int:
    lines = (line.split() for line in _read(Path(f"/proc/{pid}/status")).splitlines())
    return sum(int(line[1]) * 1024 for line in lines if line and line[0] in names)
