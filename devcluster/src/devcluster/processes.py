"""Daemons: start them in a session of their own, remember them across processes, end them.

A record holds the pid and the kernel's start time of the process, so that a pid that was given to
another process in the meantime is never mistaken for ours.
"""

import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from devcluster.console import DevclusterError
from devcluster.waiting import until

JOIN_AND_EXEC = 'echo $$ >"$0" && exec "$@"'  # the shell enters the cgroup, then becomes the daemon


@dataclass(frozen=True)
class Record:
    """One process: `started` is field 22 of /proc/PID/stat, in clock ticks since boot."""

    name: str
    pid: int
    started: int


def start_time(pid: int) -> int | None:
    """Start time of a living process; None when there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold anything
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def alive(record: Record) -> bool:
    """Whether this very process still runs."""
    return start_time(record.pid) == record.started


def reap(pid: int) -> bool | None:
    """Collect a dead child: True when it has ended, False while it has not, None when it is no child of ours."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return None


def spawn(
    name: str, argv: list[str], *, log: Path, records: Path, cgroup: Path | None = None, path: str | None = None
) -> Record:
    """Start a daemon in its own session, output appended to `log`; record it under `records`.

    posix_spawn and not Popen: the process shall outlive us, and it works from any thread.
    """
    command = argv if cgroup is None else ["/bin/sh", "-c", JOIN_AND_EXEC, str(cgroup / "cgroup.procs"), *argv]
    environment = {"PATH": path or os.environ.get("PATH", os.defpath), "HOME": "/nonexistent"}
    output = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), output, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    started = start_time(pid)
    if started is None:
        reap(pid)
        raise DevclusterError(f"{name} ended at once: {last_lines(log)}")
    record = Record(name, pid, started)
    (records / f"{name}.json").write_text(json.dumps(asdict(record)))
    return record


def recorded(records: Path) -> list[Record]:
    """Every record under the folder; half-written ones are skipped."""
    found = []
    for file in sorted(records.glob("*.json")):
        try:
            found.append(Record(**json.loads(file.read_text())))
        except (OSError, ValueError, TypeError):
            continue
    return found


def send(record: Record, number: signal.Signals) -> None:
    """Signal the process group of a daemon, if it is still the one recorded."""
    if not alive(record):
        return
    try:
        os.killpg(record.pid, number)
    except ProcessLookupError:
        return


def gone(record: Record) -> bool:
    """Whether the process has ended, all its threads included when it was our child."""
    ended = reap(record.pid)
    return not alive(record) if ended is None else ended


def stop(records: list[Record], *, grace: float) -> None:
    """SIGTERM, up to `grace` seconds of patience for all together, then SIGKILL. grace 0 kills at once."""
    if grace > 0:
        for record in records:
            send(record, signal.SIGTERM)
        until(lambda: all(gone(record) for record in records), seconds=grace)
    for record in records:
        send(record, signal.SIGKILL)
    until(lambda: all(gone(record) for record in records), seconds=5)


def last_lines(log: Path, count: int = 5) -> str:
    """The end of a log, for error messages."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return f"(no log at {log})"
