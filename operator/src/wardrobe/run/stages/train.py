"""Train: one Job per attempt, each in a folder of its own, of one pod or several."""

import json
from math import ceil

from wardrobe.api.finetunejob import FineTuneJobResource
from wardrobe.api.reasons import ConditionType, Done, Waiting
from wardrobe.base.ready import ReadyBase
from wardrobe.run.orders import CHECK_FOLDER, attempt_folder, method, processes, schedule
from wardrobe.run.seen import Seen
from wardrobe.run.tracking import credentials, tracking
from wardrobe.stage.attempts import Attempts
from wardrobe_contracts import deepspeed, paths
from wardrobe_contracts.base import Method
from wardrobe_contracts.check import CheckReport
from wardrobe_contracts.training import CheckpointPlan, TrainConfig, TrainingSummary

from .stage import JobStage, Words, Work

FIRST_GRACE_SECONDS = 120
FIRST_GRACE_OF_FULL_SECONDS = 900
"""Before anything was measured. A model's checkpoint has some hundred times an adapter's bytes."""
LEAVING_SECONDS = 30
LONGEST_GRACE_SECONDS = 3600
KILLED_BEFORE_SECONDS = 10
"""The launcher ends what has not ended by itself before the kubelet ends the launcher, which then says nothing."""


def _work(run: FineTuneJobResource, seen: Seen, base: ReadyBase, number: int) -> Work:
    """In a folder of its own, or in that of the attempt whose work is done and whose result is lost."""
    attempts = seen.attempts
    spec, group, grace = run.spec, processes(run), _grace(run, attempts)
    zero_stage = spec.parallelism.zero_stage
    checkpointing = spec.training.activation_checkpointing
    checked = attempts.found(CheckReport).payload
    order = TrainConfig(
        base=base.location,
        data_folder=CHECK_FOLDER,
        train_digest=checked.train_digest,
        tokens_digest=checked.tokens_digest,
        output_folder=attempt_folder(attempts.known().begun_at(TRAIN.task, number)),
        method=method(run),
        schedule=schedule(run),
        accelerator=spec.parallelism.accelerator,
        processes=group,
        deepspeed=None if zero_stage is None else f"{paths.CONFIG}/{deepspeed.CONFIG_FILE}",
        checkpoints=CheckpointPlan(every_seconds=spec.checkpoints.every_seconds, keep=spec.checkpoints.keep),
        grace_seconds=grace - KILLED_BEFORE_SECONDS,
        activation_checkpointing=None if checkpointing is None else checkpointing == "Enabled",
        tracking=tracking(run, base, checked),
    )
    files = _files(run, zero_stage)
    return Work(
        order,
        accelerators=group.per_node,
        pods=group.nodes,
        files=files,
        grace_seconds=grace,
        credentials=credentials(run),
    )


def _grace(run: FineTuneJobResource, attempts: Attempts) -> int:
    """Seconds that a pod needs to end its step and save: twice what was measured, and some to begin and to leave."""
    ended = (found.result.reached for found in attempts.ended(TRAIN.task).values())
    measured = [found for found in ended if found and found.step_seconds]
    if not measured:
        return FIRST_GRACE_OF_FULL_SECONDS if run.spec.method is Method.FULL else FIRST_GRACE_SECONDS
    seconds = max((found.step_seconds or 0.0) + (found.save_seconds or 0.0) for found in measured)
    return min(max(ceil(2 * seconds) + LEAVING_SECONDS, 60), LONGEST_GRACE_SECONDS)


def _files(run: FineTuneJobResource, zero_stage: deepspeed.ZeroStage | None) -> dict[str, str]:
    """DeepSpeed's configuration, where a person can read it."""
    if zero_stage is None:
        return {}
    accelerator = run.spec.parallelism.accelerator
    rendered = deepspeed.configuration(zero_stage, schedule(run), processes(run), accelerator)
    return {deepspeed.CONFIG_FILE: json.dumps(rendered, indent=1)}


def _came_to(summary: TrainingSummary, attempt: int) -> str:
    ended = f"attempt {attempt} trained to the end"
    if summary.instead_of is None:
        return ended
    return f"{ended}; {summary.optimizer} stood in for {summary.instead_of}, because only a GPU has memory to page out"


TRAIN = JobStage(
    task="train",
    more_memory="Raise spec.pod.resources.limits.memory",
    brings=TrainingSummary,
    words=Words(ConditionType.TRAINED, "training", Done.TRAINED, Waiting.TRAINING),
    work=_work,
    came_to=_came_to,
    reports_progress=True,
    saves=True,
    restarts_failures=True,
)
