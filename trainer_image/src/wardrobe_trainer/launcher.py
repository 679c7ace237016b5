"""PID 1 of a training pod: starts the ranks, serves their progress, passes signals on, and says how it all ended.

Started here and not by torchrun, which turns every exit code into 1 and kills after 30 s of its own choosing. The
launcher imports no torch: it stays small and alive when a rank is killed for memory.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.paths import CONFIG_VARIABLE
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.training import ADAPTER_FOLDER, PROGRESS_PORT, TrainConfig

from . import hardware
from .console import say
from .model_files import require_unchanged
from .progress import ProgressServer
from .task import out_of_memory, terminated

RANK_FOLDER_VARIABLE = "WARDROBE_RANK_FOLDER"
"""Folder, inside the container, in which a rank leaves its progress and its result."""
PORT_VARIABLE = "WARDROBE_PROGRESS_PORT"
"""Overrides PROGRESS_PORT, for tests that run side by side."""
RANK_MODULE = "wardrobe_trainer.rank"
UNFINISHED_FOLDER = ".adapter"
"""Where a rank writes the adapter before its one rename to ADAPTER_FOLDER."""
GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL. Nothing is saved on the way out yet, so a rank needs no longer."""
_MASTER_PORT = "29500"
"""torch.distributed's customary port; free, because each pod has its own network."""
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM}


@dataclass
class Ranks:
    """The processes of this pod: process id to rank, and how those that ended did."""

    running: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    """Rank to exit code, negative for a signal (as in `os.waitstatus_to_exitcode`)."""

    def reap(self) -> None:
        """Collect every child that has ended; orphans of a rank are adopted by PID 1 and end here too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (rank := self.running.pop(pid, None)) is not None:
                self.ended[rank] = os.waitstatus_to_exitcode(status)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every rank's process group."""
        for pid in self.running:
            os.killpg(pid, number)


def launch(config: TrainConfig) -> Result:
    """Run one attempt to its end. Raises TaskError where the base is not the inspected one."""
    require_unchanged(Path(config.base.folder), config.base.fingerprint)
    output = Path(config.output_folder)
    for name in (UNFINISHED_FOLDER, ADAPTER_FOLDER):  # left by a pod of this attempt that came to no result
        shutil.rmtree(output / name, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="ranks-"))
    order = config.model_dump_json(by_alias=True)
    try:
        return supervise(order, folder, [sys.executable, "-m", RANK_MODULE])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(output / UNFINISHED_FOLDER, ignore_errors=True)


def supervise(order: str, folder: Path, command: list[str]) -> Result:
    """Start one rank per process of this pod, wait for all, and say how the attempt ended."""
    before = hardware.out_of_memory_kills()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    server = ProgressServer(folder, int(os.environ.get(PORT_VARIABLE, PROGRESS_PORT)))
    server.start()
    try:
        ranks = Ranks()
        ranks.running[start_rank(command, rank_environment(order, folder))] = 0
        stopped = wait(ranks)
    finally:
        server.shutdown()
        server.server_close()
        # A SIGTERM that came after the last rank's end finds nothing to stop: it must not undo what the ranks did.
        while signal.sigtimedwait({signal.SIGTERM}, 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    return conclude(ranks.ended, stopped, rank_result(folder), hardware.out_of_memory_kills() - before)


def rank_environment(order: str, folder: Path) -> dict[str, str]:
    """Environment of the one rank there is so far, in the names that torch.distributed reads."""
    return {
        **os.environ,
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": _MASTER_PORT,
        CONFIG_VARIABLE: order,
        RANK_FOLDER_VARIABLE: str(folder),
    }


def start_rank(command: list[str], environment: Mapping[str, str]) -> int:
    """Start a rank as leader of its own process group, with the signals that we hold back let through."""
    return os.posix_spawn(command[0], command, dict(environment), setpgroup=0, setsigmask=())


def wait(ranks: Ranks) -> bool:
    """Wait until every rank has ended. Returns whether SIGTERM asked for it."""
    deadline: float | None = None
    while ranks.running:
        received = signal.sigtimedwait(_SIGNALS, 1.0)
        if received is not None and received.si_signo == signal.SIGTERM and deadline is None:
            say("SIGTERM: stopping the training")
            ranks.signal(signal.SIGTERM)
            deadline = time.monotonic() + GRACE_SECONDS
        ranks.reap()
        if deadline is not None and time.monotonic() > deadline:
            ranks.signal(signal.SIGKILL)
    return deadline is not None


def rank_result(folder: Path) -> Result | None:
    """What rank 0 says of itself, if it came so far."""
    try:
        return Result.model_validate_json((folder / RESULT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def conclude(ended: Mapping[int, int], stopped: bool, result: Result | None, kills: int) -> Result:
    """How the attempt ended: by rank 0's own result, or by how it died without one.

    `ended` is rank to exit code, `stopped` whether SIGTERM came, `kills` how many processes died for memory.
    """
    if result is not None and (result.succeeded or not stopped):
        return result
    if stopped:
        return terminated("train")
    code = ended[0]
    if code == -signal.SIGKILL and kills > 0:
        return out_of_memory("train", "rank 0 was killed by the kernel at the container's memory limit")
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    message = f"rank 0 {how} and left no result; its last lines are in the pod's log"
    return Result.failure("train", ExitCode.UNKNOWN, Reason.UNKNOWN, message)
