"""Following a training run: progress for the launcher, lines for the log, and an early end where it diverges."""

import math
import time
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.training import Progress

from . import progress
from .console import say
from .problems import TaskError

LINES = 20
"""Lines about the loss that a run leaves in the log, however long it is."""


class Reporter(TrainerCallback):
    """Keeps what the trainer logs after every optimizer step."""

    def __init__(self, scratch: Path) -> None:
        self.losses: list[float] = []
        """Mean loss per label token of each optimizer step."""
        self.tokens = 0
        self._scratch = scratch
        self._started = 0.0
        self._state = TrainerState()

    def now(self, stage: Literal["Training", "Saving"]) -> Progress:
        """Progress at this moment."""
        elapsed = max(time.monotonic() - self._started, 1e-6)
        step, steps = self._state.global_step, self._state.max_steps
        return Progress(
            stage=stage,
            step=step,
            steps=steps,
            epoch=round(self._state.epoch or 0.0, 3),
            loss=self.losses[-1] if self.losses else None,
            tokens_per_second=round(self.tokens / elapsed, 1) if self.tokens else None,
            seconds_left=math.ceil(elapsed / step * (steps - step)) if step else None,
        )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started, self._state = time.monotonic(), state
        say(f"training: {state.max_steps} steps")
        progress.write(self._scratch, self.now("Training"))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take a step's loss. Raises TaskError where it is no number any more."""
        if logs is None or "loss" not in logs:  # the summary at the end
            return
        require_finite(logs["loss"], state.global_step, args.learning_rate)
        self.losses.append(round(logs["loss"], 6))
        self.tokens = int(logs["num_tokens"])
        report = self.now("Training")
        progress.write(self._scratch, report)
        if state.global_step in milestones(state.max_steps):
            say(
                f"step {report.step}/{report.steps} epoch {report.epoch:.2f} loss {report.loss:.4f} "
                f"{report.tokens_per_second:.0f} tokens/s, {report.seconds_left} s left"
            )


def milestones(steps: int) -> set[int]:
    """Steps worth a line: the first, the last, and evenly many between."""
    return {1, steps} | {round(steps * part / LINES) for part in range(1, LINES)}


def require_finite(loss: float, step: int, learning_rate: float) -> None:
    """Raise TaskError (Diverged) where training has left the numbers."""
    if math.isfinite(loss):
        return
    problem = Problem(
        field="spec.training.learningRate",
        value=f"{learning_rate:g}",
        rule=f"the loss of step {step} is {loss}: the weights have grown beyond all bounds",
        next_step=f"Lower it, for example to {learning_rate / 10:g}",
    )
    raise TaskError(ExitCode.DIVERGED, Reason.DIVERGED, problem)
