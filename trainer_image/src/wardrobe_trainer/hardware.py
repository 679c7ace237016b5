"""What the container may use of its node: processors by cgroup version 2, kills for memory by either version."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
MEMORY_EVENTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""Of cgroup version 2 and 1; both have a line `oom_kill <count>`."""


def share_processors() -> None:
    """Set how torch's threads behave on processors that other pods use too; must run before torch is imported.

    Threads that spin while they wait for each other take the processor from the one they wait for: on two busy cores a
    training step took two to four times as long as with threads that sleep.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(processors()))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def processors(limit: Path = CPU_LIMIT) -> int:
    """Whole processors this container may use: its share of the node's, rounded up, at least one.

    A thread pool as wide as the node under a limit of two processors spends its time being throttled.
    """
    available = len(os.sched_getaffinity(0))
    return max(1, min(available, math.ceil(_quota(_read(limit)) or available)))


def _quota(text: str) -> float | None:
    """Processors granted by `cpu.max` ("<quota> <period>" in microseconds, or "max <period>")."""
    quota, _, period = text.strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


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
