"""The container's share of its node's processors, by cgroup version 2."""

import math
import os
from pathlib import Path

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def share() -> None:
    """Set how torch's threads behave on processors that others use too; must run before torch is imported.

    A pool as wide as the node is throttled under a limit, and threads that spin while they wait take the processor from
    the one they wait for.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(granted()))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def granted(limit: Path = CPU_LIMIT) -> int:
    """Whole processors this container may use, rounded up, at least one."""
    available = len(os.sched_getaffinity(0))
    return max(1, min(available, math.ceil(_quota(limit) or available)))


def _quota(limit: Path) -> float | None:
    """Processors granted by `cpu.max` ("<quota> <period>" in microseconds, or "max <period>"), None for all."""
    try:
        quota, _, period = limit.read_text().strip().partition(" ")
    except OSError:  # this kernel or sandbox does not show it
        return None
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None
