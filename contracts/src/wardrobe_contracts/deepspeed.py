"""DeepSpeed's configuration of a training attempt: rendered by the operator, read by every rank."""

from typing import Any, Literal

from .base import Accelerator
from .training import Processes, Schedule

ZeroStage = Literal[0, 1, 2, 3]
"""What is partitioned over the processes (Rajbhandari et al. 2020): nothing, optimizer states, gradients too, weights
too."""

CONFIG_FILE = "deepspeed.json"
GRADIENT_NORM = 1.0
"""Gradients are scaled down to this norm, with and without DeepSpeed."""


def configuration(
    stage: ZeroStage, schedule: Schedule, processes: Processes, accelerator: Accelerator
) -> dict[str, Any]:
    """As DeepSpeed reads it. Numbers are given and not `auto`: accelerate then needs no data loader to find them."""
    return {
        "zero_optimization": {"stage": stage},
        "train_micro_batch_size_per_gpu": schedule.micro_batch_size,
        "gradient_accumulation_steps": schedule.gradient_accumulation_steps(processes.total),
        "gradient_clipping": GRADIENT_NORM,
        "bf16": {"enabled": accelerator is Accelerator.GPU},
        # torch's AdamW instead of DeepSpeed's own, which would be compiled at the first step
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
