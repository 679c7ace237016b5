"""The processes that train together: each one's place among them, and how they find each other."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import deepspeed  # type: ignore[import-untyped]  # DeepSpeed ships no types
import torch
from torch import distributed
from torch._C._distributed_c10d import TCPStore  # what torch.distributed has it from, with its types

from wardrobe_contracts.base import Accelerator
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.training import TrainConfig

from .problems import TaskError

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Of one process, in the names that torch.distributed reads."""

    rank: int = 0
    """Among all."""
    local_rank: int = 0
    """In this pod: the number of its accelerator."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Place":
        """As the launcher wrote it."""
        return cls(int(environment.get("RANK", "0")), int(environment.get("LOCAL_RANK", "0")))

    @property
    def first(self) -> bool:
        """Whether this one speaks and writes for all."""
        return self.rank == 0


@contextmanager
def together(config: TrainConfig, place: Place) -> Iterator[None]:
    """Until all processes are there, and then as one group. Raises TaskError where some do not come in time.

    Before anything is loaded: who waits for a peer that cannot be scheduled holds its accelerator for nothing.
    """
    if config.deepspeed is None:
        yield
        return
    patience = timedelta(seconds=config.processes.start_seconds)
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = TCPStore(host, port, config.processes.total, place.first, patience, wait_for_workers=True)
    except distributed.DistError as error:
        raise peers_missing(config) from error
    if config.accelerator is Accelerator.CPU:
        # a collective that only inference uses, and that would be compiled now
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    backend = "nccl" if config.accelerator is Accelerator.GPU else "gloo"
    distributed.init_process_group(
        backend,
        store=store,
        rank=place.rank,
        world_size=config.processes.total,
        # for loading one after another and for saving, too; what the launcher calls a stall ends sooner and says more
        timeout=patience + timedelta(seconds=2 * config.processes.stall_seconds),
    )
    yield
    distributed.destroy_process_group()  # not after an error: peers may be in a collective, and would be waited for


def peers_missing(config: TrainConfig) -> TaskError:
    """The others did not come."""
    problem = Problem(
        field="spec.parallelism.startSeconds",
        value=f"{config.processes.start_seconds:g}",
        rule=f"not all {config.processes.total} processes found each other within this time",
        next_step="See why the run's other pods do not run; ask for fewer nodes, or let a queue admit them together",
    )
    return TaskError(ExitCode.COMMUNICATION, Reason.PEERS_MISSING, problem)


@contextmanager
def one_after_another(folder: Path, *, wanted: bool) -> Iterator[None]:
    """One process of this pod at a time: a base that each holds whole would need its room in memory for all at once."""
    if not wanted:
        yield
        return
    with (folder / "loading").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


GO_ON, SAVE, STOP = 0, 1, 2


def agree(wanted: int) -> int:
    """The most that any process wants; all get the same answer in the same step."""
    if not distributed.is_initialized():
        return wanted
    most = torch.tensor(wanted, device=_device())
    distributed.all_reduce(most, op=distributed.ReduceOp.MAX)
    return int(most.item())


def of_first(value: T | None) -> T | None:
    """What the first process has; the others give nothing."""
    if not distributed.is_initialized():
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def _device() -> torch.device:
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
