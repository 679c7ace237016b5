"""Who has the one node: another checkout's people, or a test run that will take it down. Both are told politely."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from devcluster import processes
from devcluster.console import DevclusterError
from devcluster.instance import checkout, locked, run_root
from devcluster.processes import Record

ANOTHERS = 3  # exit status: the node is somebody else's for now


@contextmanager
def reserved() -> Iterator[None]:
    """Have the node for this process alone: `up` and `down` of others are refused meanwhile."""
    with locked("reserved"):
        refuse_reserved()
        me = Record("reserved", os.getpid(), processes.start_time(os.getpid()) or 0)
        _file().write_text(json.dumps(asdict(me)))
    try:
        yield
    finally:
        _file().unlink(missing_ok=True)


def refuse_reserved() -> None:
    """Raise when another living process has the node for itself."""
    holder = _holder()
    if holder is not None and holder.pid != os.getpid() and processes.alive(holder):
        raise DevclusterError(
            f"A test run (process {holder.pid}) has the node for itself and will take it down at its end.\n"
            "Try again when it is done.",
            status=ANOTHERS,
        )


def refuse_anothers(state: dict[str, Any]) -> None:
    """Raise when the node belongs to another checkout that still exists."""
    theirs = Path(str(state.get("checkout", checkout())))
    if theirs == checkout() or not theirs.is_dir():
        return
    raise DevclusterError(
        f"The node is in use: {state.get('user', 'somebody')} started it from {theirs} on {state.get('since')}.\n"
        f"There is one node at a time. When they are done: cd {theirs} && uv run devcluster down\n"
        "If nobody needs it any more: devcluster down --force",
        status=ANOTHERS,
    )


def _file() -> Path:
    return run_root() / ".node.reserved"


def _holder() -> Record | None:
    try:
        return Record(**json.loads(_file().read_text()))
    except (OSError, ValueError, TypeError):
        return None
