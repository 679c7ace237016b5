"""Running a task: order in, work, record out. Every ending, foreseen or not, leaves a `result.json`."""

import errno
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from wardrobe_contracts.base import Task, first_error
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.paths import CONFIG_VARIABLE
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.result import RESULT_FILE, Payload, Result

from .console import complain, say
from .files import write_durably
from .problems import TaskError, TerminatedError
from .unquoted import describe, traceback_of

TERMINATION_LOG_VARIABLE = "WARDROBE_TERMINATION_LOG"
"""Overrides the kubelet's path, for tests."""
_TERMINATION_LOG = "/dev/termination-log"

OrderT = TypeVar("OrderT", bound=BaseModel)
T = TypeVar("T")


class ProcessFailedError(Exception):
    """A process that the task has started has failed, and said how."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.message)
        self.result = result


def parse_order(model: type[OrderT], text: str | None) -> OrderT:
    """The order that a pod's environment carries. Raises TaskError naming every wrong field."""
    if text is None:
        raise _bad_order("(not set)", "the order must be given as JSON")
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise _bad_order(f"{error.error_count()} faults", first_error(error)) from error


def _bad_order(value: str, rule: str) -> TaskError:
    problem = Problem(
        field=CONFIG_VARIABLE,
        value=value,
        rule=rule,
        next_step="Run operator and trainer image of the same release; report a defect if they are",
    )
    return TaskError(ExitCode.BAD_CONFIG, Reason.CONFIG_INVALID, problem)


def outcome(task: Task, work: Callable[[], Payload | Result]) -> Result:
    """Do the work and describe how it ended. Never raises."""
    done = attempted(task, work)
    return done if isinstance(done, Result) else Result.success(DONE[task], done)


def attempted(task: Task, work: Callable[[], T]) -> T | Result:
    """What the work gives, or how it failed. Never raises."""
    try:
        return work()
    except TaskError as error:
        return failed(task, error)
    except ProcessFailedError as error:
        return error.result
    except TerminatedError as error:
        return terminated(task, str(error))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - the boundary: whatever it is, a panic in Rust too, becomes a record
        complain(traceback_of(error))
        return unforeseen(task, error)


def failed(task: Task, error: TaskError) -> Result:
    """Result of a task that cannot go on, and it is known why."""
    return Result.failure(task, error.code, error.reason, str(error), error.problem)


NO_MEMORY = "can't allocate memory"
"""How torch's CPU allocator says it."""
GPU_MEMORY = "out of memory"
"""How CUDA says it, and what is built on it."""
STORE_ERRORS = {errno.EIO, errno.ENOSPC, errno.ESTALE, errno.EROFS, errno.EDQUOT, errno.ETIMEDOUT}
"""A volume that is full, read-only, slow or gone. Any other OSError is a fault of ours or of the image."""
PEER_ERRORS = {"DistBackendError", "DistNetworkError", "DistStoreError", "BrokenPipeError", "ConnectionResetError"}
"""torch.distributed's."""
PEER_TEXTS = ("Connection closed by peer", "Connection reset by peer", "gloo/transport", "NCCL", "remote process")
DEVICE_TEXTS = ("ECC error", "GPU is lost", "fallen off the bus", "unspecified launch failure", "hardware stack error")
"""CUDA's words for an accelerator that failed (errors 214, 710 to 721, and the driver's Xid 79)."""


def unforeseen(task: Task, error: BaseException) -> Result:
    """Result after an error that no rule of ours foresaw. torch is not imported here, so its errors go by name."""
    text = describe(error)
    torn = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if isinstance(error, MemoryError) or torn or NO_MEMORY in str(error):
        return out_of_memory(task, text)
    if type(error).__name__ == "OutOfMemoryError" or GPU_MEMORY in str(error):
        return accelerator_out_of_memory(task, text)
    return Result.failure(task, *_class_of(error), text)


def _class_of(error: BaseException) -> tuple[ExitCode, Reason]:
    text = str(error)
    if isinstance(error, OSError) and error.errno in STORE_ERRORS:
        return ExitCode.STORE, Reason.STORE_FAILED
    if any(words in text for words in DEVICE_TEXTS):
        return ExitCode.DEVICE, Reason.DEVICE_LOST
    if type(error).__name__ in PEER_ERRORS or any(words in text for words in PEER_TEXTS):
        return ExitCode.COMMUNICATION, Reason.PEERS_LOST
    return ExitCode.UNKNOWN, Reason.UNKNOWN


def out_of_memory(task: Task, found: str) -> Result:
    """Result of a task that needs more memory than it has."""
    problem = Problem(
        field="spec.pod.resources.limits.memory",
        value="the container's limit",
        rule=f"the work needs more memory: {found}",
        next_step="Raise it, or lower spec.training.microBatchSize or spec.training.sequenceLength",
    )
    return failed(task, TaskError(ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, problem))


def accelerator_out_of_memory(task: Task, found: str) -> Result:
    """Result of a task that needs more memory than its accelerator has. Training says it better: it has measured."""
    problem = Problem(
        field="spec.parallelism.accelerator",
        value="GPU",
        rule=f"the work needs more memory than the accelerator has: {found}",
        next_step="Choose nodes with larger ones by spec.pod.nodeSelector, or lower spec.training.sequenceLength",
    )
    return failed(task, TaskError(ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, problem))


DONE: Mapping[Task, str] = {
    "inspect": "the base model can be adapted",
    "check": "the dataset can be trained on",
    "import": "the adapter is one that this base can have",
    "train": "the weights are trained",
    "assess": "the adapter is published",
    "release": "the model is published",
    "verify": "the files are what the Adapter says",
}


def terminated(task: Task, message: str = "") -> Result:
    """Result of a task that was told to stop."""
    text = message or "stopped by SIGTERM before it ended"
    return Result.failure(task, ExitCode.PREEMPTED, Reason.TERMINATED, text)


def recorded(task: Task, folder: Path, *, for_good: bool) -> Result | None:
    """How this task already ended in this folder, where that is final.

    A Job whose pod and annotation are gone is made again, and must report what happened without redoing it. In a
    folder that is one attempt's alone any ending stands (`for_good`), as that of training is; the other tasks are done
    again in the same folder after an ending that was not their own fault.
    """
    try:
        result = Result.model_validate_json((folder / RESULT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    stands = for_good or not result.exit_code.infrastructure
    return result if result.task == task and stands else None


def record(result: Result, folder: Path | None) -> Result:
    """Write the record, then its copy for the kubelet. A record that cannot be written is itself a failure."""
    if folder is not None:
        try:
            _write(result, folder)
        except OSError as error:
            result = _unrecorded(result, folder, error)
    copy_to_termination_log(result)
    return result


def record_more(before: Result, result: Result, folder: Path) -> Result:
    """Write a record anew that says more of the same end. Where it cannot be written, the one before stands."""
    try:
        _write(result, folder)
    except OSError as error:
        say(f"what was told elsewhere is not recorded: {error}")
        return before
    copy_to_termination_log(result)
    return result


def _write(result: Result, folder: Path) -> None:
    write_durably(folder / RESULT_FILE, result.model_dump_json(by_alias=True, indent=2).encode())


def _unrecorded(result: Result, folder: Path, error: OSError) -> Result:
    """Where a store is said to be unsuitable already, it is no news that it takes no record."""
    if result.reason is Reason.STORE_UNSUITABLE:
        return result
    message = f"{result.message}; {RESULT_FILE} cannot be written to {folder}: {error}"
    code = ExitCode.STORE if result.succeeded else result.exit_code
    return Result.failure(result.task, code, Reason.STORE_FAILED, message)


def copy_to_termination_log(result: Result) -> None:
    """Leave the record's short form where the kubelet looks; a pod without that file only loses the copy."""
    path = Path(os.environ.get(TERMINATION_LOG_VARIABLE, _TERMINATION_LOG))
    try:
        path.write_text(result.termination_message())
    except (OSError, ValueError) as error:
        print(f"termination message not written: {error}", file=sys.stderr)  # noqa: T201


def announce(result: Result) -> None:
    """The last line of the log: how it ended."""
    say(f"{result.task} {'done' if result.succeeded else 'failed'}: {result.reason}: {result.message}")


def output_folder(text: str | None) -> Path | None:
    """Where to record that an order is wrong, if it says at least that much."""
    try:
        folder = json.loads(text or "")["outputFolder"]
    except (ValueError, KeyError, TypeError):
        return None
    return Path(folder) if isinstance(folder, str) and Path(folder).is_dir() else None
