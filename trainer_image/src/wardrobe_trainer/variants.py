"""Each variant of the base measured in a process of its own: what one does not survive costs the others nothing.

This process starts them, and imports no torch: it stays small beside them.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Accelerator, Digest, Record, Variant
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.manifest import NotAssessed
from wardrobe_contracts.probes import ProbeScores
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.result import Result

from .comparison import Counts, Sums
from .console import say
from .drafts import Draft
from .hardware import Room, out_of_memory_kills, taken_bytes
from .problems import TaskError
from .task import ProcessFailedError
from .tracking.beside import without_credentials

MODULE = "wardrobe_trainer.variant"
ORDER_FILE, END_FILE = "order.json", "end.json"
"""In the folder that the process is given, of this container."""
LOOK_SECONDS = 0.02
GIB = 2**30
_OWN_FAULTS = {ExitCode.OUT_OF_MEMORY, ExitCode.UNKNOWN}
"""Ends of one variant, which say nothing of another."""


class VariantOrder(Record):
    """What a process is to measure."""

    config: AssessConfig
    variant: Variant
    candidate: Digest
    drafts: list[Draft] = []
    """Of a variant before; none where the probes are to be drafted on this one."""


class Measured(Record):
    """What it found. Of the base alone, the candidate, and incumbents by their digests."""

    counts: Counts
    base: Sums
    candidate: Sums
    incumbents: dict[Digest, Sums] = {}
    unmeasured: dict[Digest, str] = {}
    """Incumbents that could not be, and why."""
    drafts: list[Draft]
    probe_scores: list[ProbeScores]


class End(Record):
    """How a process ended: with one of both."""

    measured: Measured | None = None
    failed: Result | None = None
    needed_bytes: int | None = None
    """Of memory, where that was too small: what it had when it asked for more."""


@dataclass
class Found:
    """Of all variants."""

    measured: dict[Variant, Measured] = field(default_factory=dict)
    not_assessed: list[NotAssessed] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """That were measured."""
        return len(next(iter(self.measured.values())).counts.whole)


def measure_all(config: AssessConfig, candidate: Digest) -> Found:
    """One after another. Raises TaskError or ProcessFailedError where none could be measured, or none ever will be."""
    found = Found()
    for variant in in_order(config):
        drafts = next((one.drafts for one in found.measured.values()), [])
        end = run(VariantOrder(config=config, variant=variant, candidate=candidate, drafts=drafts))
        if end.measured is not None:
            found.measured[variant] = end.measured
        else:
            found.not_assessed.append(not_assessed(variant, end))
            say(f"{variant} is not assessed: {found.not_assessed[-1].message}")
    if not found.measured:
        raise none_fits(config.accelerator, found.not_assessed)
    return found


def in_order(config: AssessConfig) -> list[Variant]:
    """Each variant once, the one trained on first: there the candidate drafts its probes."""
    trained_on = config.lineage.trained_on
    return sorted(set(config.variants), key=lambda found: (found is not trained_on, list(Variant).index(found)))


def not_assessed(variant: Variant, end: End) -> NotAssessed:
    """The variant's own end. Raises TaskError or ProcessFailedError where it would be every variant's."""
    failed = end.failed
    assert failed is not None  # noqa: S101  it has not measured
    if failed.exit_code not in _OWN_FAULTS:
        if failed.problem is not None:
            raise TaskError(failed.exit_code, failed.reason, failed.problem)
        raise ProcessFailedError(failed)
    rule = failed.problem.rule if failed.problem else failed.message
    return NotAssessed(variant=variant, reason=failed.reason, message=rule, needed_bytes=end.needed_bytes or None)


def none_fits(accelerator: Accelerator, found: Sequence[NotAssessed]) -> TaskError | ProcessFailedError:
    """How the task ends that has measured nothing."""
    each = "; ".join(f"{one.variant}: {one.message}{_needed(one)}" for one in found)
    rule = f"no variant could be measured: {each}"
    if not any(one.reason is Reason.OUT_OF_MEMORY for one in found):
        return ProcessFailedError(Result.failure("assess", ExitCode.UNKNOWN, Reason.UNKNOWN, rule))
    on_gpu = accelerator is Accelerator.GPU
    problem = Problem(
        field="spec.parallelism.accelerator" if on_gpu else "spec.pod.resources.limits.memory",
        value="GPU" if on_gpu else "the container's limit",
        rule=rule,
        next_step="Choose nodes with larger GPUs by spec.pod.nodeSelector, or more of them by "
        "spec.parallelism.processesPerNode, and create the run again"
        if on_gpu
        else "Create the run again with a higher one",
    )
    return TaskError(ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, problem)


def _needed(found: NotAssessed) -> str:
    return f" ({found.needed_bytes / GIB:.2f} GiB at least)" if found.needed_bytes else ""


def run(order: VariantOrder, room: Room | None = None, command: Sequence[str] = ()) -> End:
    """Measure one variant, in a process that goes with this one. `command` stands in for ours in tests."""
    folder = Path(tempfile.mkdtemp(prefix="variant-"))
    try:
        (folder / ORDER_FILE).write_text(order.model_dump_json(by_alias=True))
        kills = out_of_memory_kills()
        death = _wait([*(command or (sys.executable, "-m", MODULE)), str(folder)], room or Room.of_container())
        return _said(folder) or death.end(out_of_memory_kills() - kills)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Death:
    """How a process went."""

    code: int
    """Negative for a signal, as in `os.waitstatus_to_exitcode`."""
    peak_bytes: int
    """Of memory, as seen while it ran."""
    limit: int | None = None
    """Of memory, where we ended it shortly before it was reached."""

    def end(self, kills: int) -> End:
        """Of one that left no word. `kills` is how many processes died for memory meanwhile."""
        if self.limit is not None:
            rule = f"it would have needed more than the container's {self.limit / GIB:.2f} GiB of memory"
            return self._too_large(rule)
        if self.code == -signal.SIGKILL and kills > 0:
            return self._too_large("the kernel killed it at the container's memory limit")
        how = f"was killed by {signal.Signals(-self.code).name}" if self.code < 0 else f"ended with code {self.code}"
        message = f"its process {how}; what it last printed is in the pod's log"
        return End(failed=Result.failure("assess", ExitCode.UNKNOWN, Reason.UNKNOWN, message))

    def _too_large(self, rule: str) -> End:
        failed = Result.failure("assess", ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, rule)
        return End(failed=failed, needed_bytes=self.peak_bytes)


def _said(folder: Path) -> End | None:
    try:
        return End.model_validate_json((folder / END_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _wait(command: Sequence[str], room: Room) -> Death:
    """Until it has ended; ended by us where it takes too much, and where this process is told to stop."""
    pid = os.posix_spawn(command[0], list(command), without_credentials(os.environ), setpgroup=0)
    running, full, peak = True, False, 0
    try:
        while running:
            ended, status = os.waitpid(pid, os.WNOHANG)
            running = ended == 0
            taken = taken_bytes(pid) if running else 0
            peak = max(peak, taken)
            if running and not full and room.is_full(taken):
                full = True
                os.killpg(pid, signal.SIGKILL)
            if running:
                time.sleep(LOOK_SECONDS)
    finally:
        if running:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return Death(os.waitstatus_to_exitcode(status), peak, room.limit if full else None)
