"""Following a training run: progress for the launcher, lines for the log, and an early end where it diverges."""

import math
import time
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.training import Progress, Reached

from . import progress
from .checkpoints import Manifest
from .console import say
from .problems import TaskError

LINES = 20
"""Lines about the loss that a run leaves in the log, however long it is."""


class Reporter(TrainerCallback):
    """Keeps what the trainer logs after every optimizer step."""

    def __init__(self, scratch: Path, steps_per_epoch: int, begun: Manifest | None, *, speaks: bool = True) -> None:
        self.losses = [begun.first_loss] if begun else []
        """Mean loss per label token of each optimizer step; of earlier attempts only the first one's."""
        self.tokens = begun.tokens if begun else 0
        self.reached = Reached(step=begun.step, resumed=begun.step, saved=begun.step) if begun else Reached(step=0)
        self._begun = begun
        self._tokens_before = 0
        self._skipped = 0
        self._problem: str | None = None
        self._scratch = scratch
        self._steps_per_epoch = steps_per_epoch
        self._speaks = speaks
        """Whether lines in the log are this process's to write."""
        self._started = 0.0
        self._state = TrainerState()

    def now(self, stage: Literal["Training", "Saving"]) -> Progress:
        """Progress at this moment."""
        elapsed = max(time.monotonic() - self._started, 1e-6)
        step, steps = self._state.global_step, self._state.max_steps
        here = max(step - self.reached.resumed, 0)
        return Progress(
            stage=stage,
            step=step,
            steps=steps,
            epoch=round(step / self._steps_per_epoch, 3),
            loss=self.losses[-1] if self.losses else None,
            tokens_per_second=round((self.tokens - self._tokens_before) / elapsed, 1) if here else None,
            seconds_left=math.ceil(elapsed / here * (steps - step)) if here else None,
            reached=self.reached,
            problem=self._problem,
        )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started, self._state = time.monotonic(), state
        if self._speaks:
            after = f", after {self._begun.step} that are saved" if self._begun else ""
            say(f"training: {state.max_steps} steps{after}")
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
        if self._begun and state.global_step == self._begun.step:  # was made before, and again only for its room
            self._tokens_before = self._begun.tokens
            self._skipped = int(logs["num_tokens"])
            self._started = time.monotonic()
            return
        require_finite(logs["loss"], state.global_step, args.learning_rate)
        self.losses.append(round(logs["loss"], 6))
        self.tokens = int(logs["num_tokens"]) - self._skipped + self._tokens_before
        seconds = (time.monotonic() - self._started) / (state.global_step - self.reached.resumed)
        self.reached = self.reached.model_copy(update={"step": state.global_step, "step_seconds": round(seconds, 3)})
        report = self.now("Training")
        progress.write(self._scratch, report)
        if self._speaks and state.global_step in {self.reached.resumed + 1, *milestones(state.max_steps)}:
            say(
                f"step {report.step}/{report.steps} epoch {report.epoch:.2f} loss {report.loss:.4f} "
                f"{report.tokens_per_second:.0f} tokens/s, {report.seconds_left} s left"
            )

    def begins_to_save(self) -> None:
        """Until it is saved, or not."""
        progress.write(self._scratch, self.now("Training").model_copy(update={"saving": True}))

    def saved(self, step: int, seconds: float) -> None:
        """A checkpoint of so many steps is there."""
        self._problem = None
        self.reached = self.reached.model_copy(update={"saved": step, "save_seconds": round(seconds, 3)})
        progress.write(self._scratch, self.now("Training"))

    def not_saved(self, problem: str, stage: Literal["Training", "Saving"] = "Training") -> None:
        """None could be written, or not the adapter."""
        self._problem = problem
        progress.write(self._scratch, self.now(stage))


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
