"""idly.py COMMAND…: run it on what nobody else wants of the processors.

For that it takes root and Linux 5.15 or newer: pods are in control groups of small weight, so that a scheduling policy
would not do, and it must be a group, too. Without the right to make one the command is merely nice.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

TREES = ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup")
NICE = ("nice", "-n", "19")
JOIN = 'echo $$ > "$0" && exec "$@"'


def main() -> int:
    """The command's exit status, in a shell's way. What it is told by SIGTERM or SIGHUP the command is told, too."""
    group = idle_group()
    join = ("/bin/sh", "-c", JOIN, str(group / "cgroup.procs")) if group else ()
    process = subprocess.Popen([*join, *NICE, *sys.argv[1:]], close_fds=False)  # make hands its job server on by number
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's, and timeout's, go to all of a process group

    def tell(number: int, _: FrameType | None) -> None:
        process.send_signal(number)

    signal.signal(signal.SIGTERM, tell)
    signal.signal(signal.SIGHUP, tell)
    status = process.wait()
    if group is not None:
        with suppress(OSError):  # somebody has left a process behind
            group.rmdir()
    return status if status >= 0 else 128 - status


def idle_group() -> Path | None:
    """A control group that processes can join; None where none can be made."""
    for tree in TREES:
        group = Path(tree) / f"wardrobe-idle-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / "cpu.idle").write_text("1")
            return group
        except OSError:
            group.rmdir()
    return None


if __name__ == "__main__":
    sys.exit(main())
