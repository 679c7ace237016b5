"""The container's share of its node's processors, by cgroup version 2."""

import math
import os
from pathlib import Path

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def share() -> None:
    """Set how torch's threads behave on processors that others use too; must run before torch is imported.

    Threads that spin while they wait for each other take the processor from the one they wait for: on two busy cores a
    training step took two to four times as long as with threads that sleep.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(granted()))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def granted(limit: Path = CPU_LIMIT) -> int:
    """Whole processors this container may use, rounded up, at least one.

    A thread pool as wide as the node under a limit of two processors spends its time being throttled.
    """
    available = len(os.sched_getaffinity(0))
    return max(1, min(available, math.ceil(_quota(limit) or available)))


def _quota(limit: Path) -> float | None:
    """Processors granted by `cpu.max` ("<quota> <period>" in microseconds, or "max <period>"), None for all."""
    try:
        quota, _, period = limit.read_text().strip().partition(" ")
    except OSError:  # this kernel or sandbox does not show it
        return None
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None
