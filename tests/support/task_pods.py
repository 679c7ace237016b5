"""A task as its pod runs it: process 1 of a PID namespace, with the pod's uid. It can stand still before a step.

Run as a program it is the task: `python task_pods.py TASK [EVENT PART]` stands still before the first event of this
name (docs.python.org, Audit events table) whose path has this part, until a line comes. Needs root.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from wardrobe_contracts.base import Order, Task
from wardrobe_contracts.paths import CONFIG_VARIABLE, POD_UID_VARIABLE
from wardrobe_contracts.result import Result

STANDS = "it stands still"
SECONDS = 300


class Pod:
    """It runs from the beginning."""

    def __init__(self, task: Task, order: Order, uid: str, folder: Path, *stands_before: str) -> None:
        self._message, self.output = folder / f"message-of-{uid}", ""
        variables = {
            CONFIG_VARIABLE: order.model_dump_json(by_alias=True),
            POD_UID_VARIABLE: uid,
            "WARDROBE_TERMINATION_LOG": str(self._message),
        }
        alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        self._process = subprocess.Popen(
            [*alone, sys.executable, __file__, task, *stands_before],
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, words: str = STANDS) -> None:
        """It has said this."""
        assert self._process.stdout is not None
        while words not in self.output:
            line = self._process.stdout.readline()
            assert line, f"it ended without {words!r}: {self.output}"
            self.output += line

    def kill(self) -> None:
        """All its processes at once; returns when none is left."""
        self._process.kill()
        self._process.communicate(timeout=SECONDS)

    def ends(self) -> Result:
        """What it leaves for the kubelet, after it has been let go on where it stands."""
        said, _ = self._process.communicate("\n", timeout=SECONDS)
        self.output += said
        result = Result.model_validate_json(self._message.read_text())
        assert self._process.returncode == result.exit_code, self.output
        return result


def main() -> None:
    """The task itself."""
    task, *stands_before = sys.argv[1:]
    stood = False

    def before(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal stood
        if not stood and stands_before and event == stands_before[0] and stands_before[1] in str(arguments[0]):
            stood = True
            print(STANDS, flush=True)  # noqa: T201
            if not sys.stdin.readline():  # who held it is gone, and kills it
                signal.pause()

    sys.addaudithook(before)
    sys.argv[1:] = [task]
    from wardrobe_trainer.__main__ import main as run  # noqa: PLC0415  only where it is the program

    run()


if __name__ == "__main__":
    main()
