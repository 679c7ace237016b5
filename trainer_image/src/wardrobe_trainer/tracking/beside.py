"""The process that tells the server, as tasks see it: begun, never waited for long, ended with them.

A process of its own and not a thread: neither a library's fault nor a server that hangs is training's then, and the
interpreter's lock is never held against it. The kubelet ends what is left of it with the container.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.release import ReleaseConfig
from wardrobe_contracts.result import Result
from wardrobe_contracts.tracking import CREDENTIALS, MlflowTracking, Tracked, TrackingFault, TrackingReason
from wardrobe_contracts.training import TrainConfig
from wardrobe_trainer.console import say

from . import curve
from .commission import COMMISSION_FILE, Commission, read_state
from .curve import CURVE_FILE
from .run_folder import SENT_FILE

MODULE = "wardrobe_trainer.tracking.process"
LEAVING_SECONDS = 2.0
"""For a process that is told to stop."""
_OWN = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_DB_SDK": "false",
    "CUDA_VISIBLE_DEVICES": "",
}


@dataclass(frozen=True)
class Limits:
    """Seconds for telling how a task ended, the client's import included."""

    concluding: float = 60.0
    hurried: float = 5.0
    """Where the pod is told to stop."""


LIMITS = Limits()


@contextmanager
def beside(config: TrainConfig, ranks: Path, *, wanted: bool = True) -> Iterator[Path | None]:
    """While the block runs, the server is told what rank 0 writes to its folder in `ranks`.

    Gives the folder in which the process says how the server stands; None where there is none.
    """
    if config.tracking is None or not wanted:
        yield None
        return
    own, live, folder = Path(config.output_folder), ranks / "0" / CURVE_FILE, ranks / "tracking"
    commission = Commission(
        tracking=config.tracking, task="train", folder=str(own), curve=str(live), parent=os.getpid()
    )
    process = _begin(own, folder, commission)
    try:
        yield folder
    finally:
        if process is not None:
            _stop(process)
        _keep(live, own / CURVE_FILE)


def _begin(own: Path, folder: Path, commission: Commission) -> "subprocess.Popen[bytes] | None":
    """None where it cannot be begun, which is no reason not to train."""
    try:
        for left in (CURVE_FILE, SENT_FILE):  # by a pod of this attempt that came to no result
            (own / left).unlink(missing_ok=True)
        return _start(folder, commission)
    except OSError as error:
        say(f"not tracked while it trains: {error}")
        return None


def _start(folder: Path, commission: Commission) -> "subprocess.Popen[bytes]":
    folder.mkdir()
    (folder / COMMISSION_FILE).write_text(commission.model_dump_json(by_alias=True))
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, str(folder)], env=environment(folder, os.environ), start_new_session=True
    )


def environment(home: Path, of_task: Mapping[str, str]) -> dict[str, str]:
    """The task's, without MLflow's settings but for the credentials; those of files in a home or of ~/.netrc are whose
    the image is, and not whose the run is."""
    kept = {name: text for name, text in of_task.items() if not name.startswith("MLFLOW_") or name in CREDENTIALS}
    kept.pop("NETRC", None)
    return kept | _OWN | {"HOME": str(home)}


def without_credentials(of_task: Mapping[str, str]) -> dict[str, str]:
    """The environment of all processes that tell the server nothing."""
    return {name: text for name, text in of_task.items() if name not in CREDENTIALS}


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(LEAVING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _keep(live: Path, kept: Path) -> None:
    """Whatever became of the process, the next has the whole curve."""
    try:
        curve.bring(live, kept)
    except OSError as error:
        say(f"the curve is not kept: {error}")


def concluded(
    order: TrainConfig | AssessConfig | ReleaseConfig, result: Result, limits: Limits = LIMITS
) -> Tracked | None:
    """What the server has, once it is told how the task ended, and all that it was not told before.

    The result is recorded by then: nothing is lost where this takes its time, and it takes a bounded one. None where
    the run is not tracked.
    """
    tracking, hurried = order.tracking, result.exit_code is ExitCode.PREEMPTED
    if tracking is None:
        return None
    before, limit = result.tracked or Tracked(), limits.hurried if hurried else limits.concluding
    commission = Commission(tracking=tracking, task=result.task, folder=order.output_folder, parent=os.getpid())
    try:
        with TemporaryDirectory(prefix="tracking-") as scratch:
            folder = Path(scratch) / "tracking"
            code = _run(folder, commission, limit)
            state = read_state(folder)
    except OSError as error:
        return _untold(tracking, before, TrackingReason.FAILED, f"no process could be started for it: {error}")
    if code is None:
        why = f"it did not take within {limit:g} s how the task ended"
        return before if hurried else _untold(tracking, before, TrackingReason.UNREACHABLE, why)
    why = f"the process that tells it ended with code {code}, as the pod's log says"
    return state or _untold(tracking, before, TrackingReason.FAILED, why)


def _run(folder: Path, commission: Commission, limit: float) -> int | None:
    """The exit code of a process that tells it; None where that took too long."""
    process = _start(folder, commission)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _untold(tracking: MlflowTracking, before: Tracked, reason: TrackingReason, why: str) -> Tracked:
    problem = Problem(
        field="spec.tracking.mlflow.uri",
        value=tracking.uri,
        rule=why,
        next_step="See that it answers within seconds, and that the run's pods have memory for telling it",
    )
    return before.model_copy(update={"fault": TrackingFault(reason=reason, message=str(problem))})
