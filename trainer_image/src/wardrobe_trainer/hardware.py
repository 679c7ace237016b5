"""Whether the kernel killed processes of the container for memory, by cgroup version 1 or 2."""

from collections.abc import Sequence
from pathlib import Path

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
