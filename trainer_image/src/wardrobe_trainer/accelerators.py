"""Whether this pod's accelerators will do, before anything is loaded onto them."""

from dataclasses import dataclass
from pathlib import Path

import torch

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.training import TrainConfig

from .problems import TaskError
from .task import GPU_MEMORY

GIB = 2**30
LEAST_SHARE = {Variant.NONE: 0.5, Variant.INT8: 0.25, Variant.NF4: 0.125, Variant.FP4: 0.125}
"""Of the base's files, which hold 2 or 4 bytes a weight: less than this no variant takes."""


@dataclass(frozen=True)
class Found:
    """What the driver says of the accelerator that a process takes."""

    count: int
    """Accelerators that this pod sees."""
    bfloat16: bool = True
    free_bytes: int = 0
    trouble: str = ""
    """Why none can be used."""


def take(config: TrainConfig, local_rank: int, variant: Variant) -> None:
    """Take the accelerator of this process. Raises TaskError (AcceleratorUnusable) where it will not do."""
    if config.accelerator is Accelerator.CPU:
        return
    require(look(local_rank), config.processes.per_node, least_bytes(Path(config.base.folder), variant))
    torch.cuda.set_device(local_rank)


def least_bytes(base: Path, variant: Variant) -> int:
    """What the base's weights alone take at least."""
    return int(LEAST_SHARE[variant] * sum(path.stat().st_size for path in base.glob("*.safetensors")))


def look(local_rank: int) -> Found:
    """Ask the driver."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # torch
    except (AssertionError, RuntimeError) as error:
        return Found(count=0, trouble=str(error).splitlines()[0])
    count = torch.cuda.device_count()
    if local_rank >= count:
        return Found(count)
    free, _ = torch.cuda.mem_get_info(local_rank)
    return Found(count, torch.cuda.is_bf16_supported(including_emulation=False), free)


def require(found: Found, processes: int, needed_bytes: int) -> None:
    """Raises TaskError, with what was found and what is needed."""
    if found.trouble:
        raise _unusable(f"no accelerator that works: {found.trouble}", "a GPU with its driver")
    if found.count < processes:
        raise _unusable(f"{found.count} accelerators", f"{processes}, one for each process of the pod")
    if not found.bfloat16:
        raise _unusable("an accelerator without bfloat16", "one that computes in bfloat16, such as Ampere or newer")
    if found.free_bytes < needed_bytes:
        free, needed = found.free_bytes / GIB, needed_bytes / GIB
        raise _unusable(f"{free:.1f} GiB of free memory", f"{needed:.1f} GiB at least, for the base's weights alone")


def lacks_memory(error: RuntimeError) -> bool:
    """Whether it is the GPU's memory that was too small, for torch or for a library beside it, such as NCCL.

    The container's memory ends in a SIGKILL.
    """
    return isinstance(error, torch.OutOfMemoryError) or GPU_MEMORY in str(error)


def out_of_memory(config: TrainConfig, peak_bytes: int, total_bytes: int) -> TaskError:
    """Training needs more of the accelerator's memory than there is."""
    micro = config.schedule.micro_batch_size
    smaller = next((size for size in range(micro - 1, 0, -1) if micro % size == 0), None)
    problem = Problem(
        field="spec.training.microBatchSize",
        value=str(micro),
        rule=f"training needs more than the {total_bytes / GIB:.1f} GiB of its GPU: {peak_bytes / GIB:.1f} GiB were "
        "taken when it asked for more",
        next_step=f"Lower it to {smaller}; the result is the same"
        if smaller
        else "Lower spec.training.sequenceLength, or use method QLoRA",
    )
    return TaskError(ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, problem)


def _unusable(found: str, needed: str) -> TaskError:
    problem = Problem(
        field="spec.parallelism",
        value=f"found: {found}",
        rule=f"needed: {needed}",
        next_step="Choose other nodes by spec.pod.nodeSelector, mend the node's driver, or ask for fewer processes",
    )
    return TaskError(ExitCode.ACCELERATOR, Reason.ACCELERATOR_UNUSABLE, problem)
