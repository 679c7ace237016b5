"""PID 1 of a training pod: starts the ranks, serves their progress, passes signals on, and says how it all ended.

Started here and not by torchrun, which turns every exit code into 1 and kills after 30 s of its own choosing. The
launcher imports no torch: it stays small and alive when a rank is killed for memory.
"""

import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from wardrobe_contracts.base import Accelerator
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.paths import CONFIG_VARIABLE
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.training import (
    ADAPTER_FOLDER,
    MASTER_PORT,
    MASTER_VARIABLE,
    MODEL_FOLDER,
    PROGRESS_PORT,
    TrainConfig,
)
from wardrobe_models import processors

from . import hardware, last_lines, progress
from .console import complain, say
from .model_files import require_unchanged
from .progress import ProgressServer
from .task import out_of_memory, terminated
from .tracking.beside import beside, without_credentials

RANK_FOLDER_VARIABLE = "WARDROBE_RANK_FOLDER"
"""Folder, inside the container, in which a rank leaves its progress and its result."""
PORT_VARIABLE = "WARDROBE_PROGRESS_PORT"
"""Overrides PROGRESS_PORT, for tests that run side by side."""
RANK_MODULE = "wardrobe_trainer.rank"
UNFINISHED_FOLDER = ".adapter"
"""Where a rank writes what it trained before its one rename."""
MASTER_PORT_VARIABLE = "WARDROBE_MASTER_PORT"
"""Overrides MASTER_PORT, for tests that run side by side."""
PEER_SECONDS = 15.0
"""After one rank has failed, the others have so long to say what they know; they may wait for it for ever."""
STACKS_SECONDS = 3.0
"""After it was asked for, the time in which a rank writes down where it stands."""
LOST_PEERS = Result.failure("train", ExitCode.COMMUNICATION, Reason.PEERS_LOST, "the other processes went away")
MEASURED_STEPS = 3
STALLED_STEPS = 10.0
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM}


@dataclass
class Ranks:
    """The processes of this pod: process id to local rank, and how those that ended did."""

    running: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    """Local rank to exit code, negative for a signal (as in `os.waitstatus_to_exitcode`)."""
    killed: set[int] = field(default_factory=set)
    """Those that we ended because of others: how they died says nothing."""

    @property
    def failed(self) -> bool:
        """Whether one has ended that the others will wait for."""
        return any(code != 0 for code in self.ended.values())

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
    if node() == 0:
        # left by a pod of this attempt that came to no result
        for name in (UNFINISHED_FOLDER, ADAPTER_FOLDER, MODEL_FOLDER):
            shutil.rmtree(output / name, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="ranks-"))
    try:
        return supervise(config, folder, [sys.executable, "-m", RANK_MODULE])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if node() == 0:
            shutil.rmtree(output / UNFINISHED_FOLDER, ignore_errors=True)


def node() -> int:
    """Which pod of the attempt this is: an Indexed Job numbers them from 0."""
    return int(os.environ.get("JOB_COMPLETION_INDEX", "0"))


def supervise(config: TrainConfig, folder: Path, command: list[str]) -> Result:
    """Start the ranks of this pod, wait for all, and say how the attempt ended here."""
    before = hardware.out_of_memory_kills()
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    local = range(config.processes.per_node)
    folders = [folder / str(rank) for rank in local]
    server = ProgressServer(folders[0], int(os.environ.get(PORT_VARIABLE, PROGRESS_PORT)))
    server.start()
    try:
        with beside(config, folder, wanted=node() == 0) as server.tracking:  # the first pod speaks for all
            ranks = Ranks()
            for rank in local:
                folders[rank].mkdir()
                ranks.running[start_rank(command, rank_environment(config, rank, folders[rank]))] = rank
            end = wait(ranks, Pace(folders, config.processes.stall_seconds), config.grace_seconds)
    finally:
        server.shutdown()
        server.server_close()
        # A SIGTERM that came after the last rank's end finds nothing to stop: it must not undo what the ranks did.
        while signal.sigtimedwait({signal.SIGTERM}, 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    kills = hardware.out_of_memory_kills() - before
    died = {rank: code for rank, code in ranks.ended.items() if rank not in ranks.killed}
    several = config.processes.total > 1
    known = [
        word(folder, node() * config.processes.per_node + rank, died.get(rank), kills, several=several)
        for rank, folder in enumerate(folders)
    ]
    last = server.now()
    return conclude(known, end).having(last.reached).model_copy(update={"tracked": last.tracked})


def rank_environment(config: TrainConfig, local_rank: int, folder: Path) -> dict[str, str]:
    """Environment of one rank, in the names that torch.distributed and DeepSpeed read."""
    own = {CONFIG_VARIABLE: config.model_dump_json(by_alias=True), RANK_FOLDER_VARIABLE: str(folder)}
    inherited = without_credentials(os.environ)
    if config.deepspeed is None:  # a rank on its own; accelerate would make a process group of the other names
        return {**inherited, **own}
    return {
        **inherited,
        **own,
        "RANK": str(node() * config.processes.per_node + local_rank),
        "LOCAL_RANK": str(local_rank),
        "WORLD_SIZE": str(config.processes.total),
        "LOCAL_WORLD_SIZE": str(config.processes.per_node),
        "MASTER_ADDR": os.environ.get(MASTER_VARIABLE, "127.0.0.1"),
        "MASTER_PORT": os.environ.get(MASTER_PORT_VARIABLE, str(MASTER_PORT)),
        "OMP_NUM_THREADS": str(max(1, processors.granted() // config.processes.per_node)),
        **({"DS_ACCELERATOR": "cpu"} if config.accelerator is Accelerator.CPU else {}),
    }


def start_rank(command: list[str], environment: Mapping[str, str]) -> int:
    """Start a rank as leader of its own process group, with the signals that we hold back let through."""
    return os.posix_spawn(command[0], command, dict(environment), setpgroup=0, setsigmask=())


class Pace:
    """How long the ranks' steps take, by when their progress last changed."""

    def __init__(self, folders: Sequence[Path], stall_seconds: float) -> None:
        self._folders = folders
        self._stall_seconds = stall_seconds
        self._step = 0
        self._since = time.monotonic()
        self._durations: list[float] = []

    def stalled(self) -> str | None:
        """What stands still, in words. Before the first step is done nothing says how long one takes."""
        now = time.monotonic()
        reports = [progress.read(folder) for folder in self._folders]
        step = min(report.step for report in reports)
        if reports[0].saving:  # takes as long as it takes
            self._since = now
            return None
        if step > self._step:
            self._durations.append((now - self._since) / (step - self._step))
            self._step, self._since = step, now
        if len(self._durations) < MEASURED_STEPS:
            return None
        usual = statistics.median(self._durations[1:])  # the first step compiles and allocates
        limit = max(self._stall_seconds, STALLED_STEPS * usual)
        if reports[0].stage != "Training" or now - self._since < limit:
            return None
        return f"step {self._step + 1} took more than {limit:.0f} s; steps before it took {usual:.1f} s"


@dataclass
class End:
    """What ended the ranks, beside themselves."""

    stopped: bool = False
    """SIGTERM asked for it."""
    stalled: str | None = None
    """They stood still; in words."""


def wait(ranks: Ranks, pace: Pace, grace_seconds: float) -> End:
    """Wait until every rank has ended; end them where they are told to, stand still, or have lost one of them."""
    end, deadline = End(), float("inf")
    while ranks.running:
        received = signal.sigtimedwait(_SIGNALS, 1.0)
        now = time.monotonic()
        if received is not None and received.si_signo == signal.SIGTERM and not end.stopped:
            say("SIGTERM: stopping the training")
            end.stopped = True
            ranks.signal(signal.SIGTERM)
            deadline = min(deadline, now + grace_seconds)
        ranks.reap()
        if ranks.failed:
            deadline = min(deadline, now + PEER_SECONDS)
        if end.stalled is None and (stalled := pace.stalled()):
            say(f"{stalled}: where each rank stands is in the log")
            end.stalled = stalled
            ranks.signal(signal.SIGUSR1)
            deadline = min(deadline, now + STACKS_SECONDS)
        if time.monotonic() > deadline:
            ranks.killed.update(ranks.running.values())
            ranks.signal(signal.SIGKILL)
    return end


def word(folder: Path, rank: int, code: int | None, kills: int, *, several: bool = False) -> Result | None:
    """What a rank says of itself, else how it died, with its last lines; None where it was ended before it said a word.

    `rank` is its number among all, `code` its exit code where it was not ended by us, `kills` how many processes of
    the pod died for memory, `several` whether there are other ranks.
    """
    if stack := last_lines.stack(folder):
        complain(f"rank {rank}: {stack}")
    result = _said(folder) or (None if code is None else _died(rank, code, kills, several=several))
    if result is None or result.exit_code is ExitCode.PREEMPTED:
        return result
    return result.of_rank(rank, last_lines.of(folder))


def _said(folder: Path) -> Result | None:
    """The result that a rank left, if it came so far."""
    try:
        return Result.model_validate_json((folder / RESULT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def conclude(known: Sequence[Result | None], end: End) -> Result:
    """How the attempt ended in this pod: by the lowest rank that did not merely lose its peers.

    `known` is the word of each of its ranks.
    """
    if all(result is not None and result.succeeded for result in known):
        return next(result for result in known if result)
    if end.stopped:
        saved = (result for result in known if result and result.exit_code is ExitCode.PREEMPTED)
        return next(saved, terminated("train"))
    if end.stalled:
        return Result.failure("train", ExitCode.COMMUNICATION, Reason.STEP_STALLED, end.stalled)
    failures = [result for result in known if result and not result.succeeded]
    own = (result for result in failures if result.exit_code is not ExitCode.COMMUNICATION)
    return next(own, failures[0] if failures else LOST_PEERS)


def _died(rank: int, code: int, kills: int, *, several: bool) -> Result:
    """How a rank ended that left no result."""
    if code == -signal.SIGKILL and kills > 0:
        return out_of_memory("train", f"rank {rank} was killed by the kernel at the container's memory limit")
    if code == -signal.SIGABRT and several:  # so NCCL ends a process whose peer is gone
        return LOST_PEERS
    if code == -signal.SIGBUS:
        how = "was killed by SIGBUS, as where /dev/shm is full or a volume fails under a file that is being read"
    else:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    message = f"rank {rank} {how} and left no result; what it last printed is in the pod's log"
    return Result.failure("train", ExitCode.UNKNOWN, Reason.UNKNOWN, message)
