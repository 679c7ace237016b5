"""When training is written down: every so often, and when it is told to stop; and how it goes on from there."""

import signal
import time
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from wardrobe_contracts.training import TrainConfig

from . import checkpoints, moments
from .checkpoints import Checkpoint
from .console import say
from .peers import GO_ON, SAVE, STOP, Place, agree
from .problems import TerminatedError
from .reporting import Reporter


class Saving(TrainerCallback):
    """Asks all processes after every step whether to save; restores what an earlier attempt saved."""

    def __init__(self, config: TrainConfig, place: Place, reporter: Reporter, begun: Checkpoint | None) -> None:
        self.stopped = False
        """Whether training was left because somebody asked for it."""
        self._config = config
        self._place = place
        self._reporter = reporter
        self._begun = begun
        self._asked = False
        self._saved_at = time.monotonic()
        self._previous: Any = None

    @property
    def resumed(self) -> int:
        """Steps that were done before."""
        return self._begun.manifest.step if self._begun else 0

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """From now on a SIGTERM waits for the end of the step."""
        self._previous = signal.signal(signal.SIGTERM, self._ask)
        if self._begun:  # the first step only makes room for the moments: it changes no weight
            for group in kwargs["optimizer"].param_groups:
                group["lr"] = 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The dropout of a step is its own, whatever was done before it."""
        torch.manual_seed((self._config.schedule.seed << 32) + (state.global_step << 10) + self._place.rank)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """After the first step of an attempt that goes on: what Adam knew, and how far the schedule was."""
        if self._begun is None:
            return
        step = self._begun.manifest.step
        moments.put_moments(kwargs["model"], kwargs["optimizer"], self._begun.stored, step)
        for _ in range(step - 1):  # one was made after this step
            kwargs["lr_scheduler"].step()
        self._begun = None

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """After a step's loss is known: save, or save and stop, if any process wants it."""
        if "loss" not in (kwargs.get("logs") or {}) or state.global_step >= state.max_steps:
            return  # the adapter itself comes next
        wanted = agree(self._wanted())
        if wanted == GO_ON:
            return
        if self._config.checkpoints is not None:
            self._save(state.global_step, kwargs["model"], kwargs["optimizer"])
        if wanted == STOP:
            self.stopped = control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """What follows is not worth waiting for."""
        signal.signal(signal.SIGTERM, self._previous)

    def _wanted(self) -> int:
        if self._asked:
            return STOP
        plan = self._config.checkpoints
        due = plan is not None and self._place.first and time.monotonic() - self._saved_at >= plan.every_seconds
        return SAVE if due else GO_ON

    def _save(self, step: int, model: Any, optimizer: Any) -> None:
        """A checkpoint that cannot be written costs training nothing but what is done again after it."""
        began = time.monotonic()
        self._reporter.begins_to_save()
        tensors = moments.collect(model, optimizer, keep=self._place.first)
        problem = self._write(step, tensors) if self._place.first else None
        if agree(int(problem is not None)):  # all know: any of them may have to say how far the attempt came
            self._reporter.not_saved(problem or "the first process says why")
        else:
            self._reporter.saved(step, time.monotonic() - began)
        self._saved_at = time.monotonic()

    def _write(self, step: int, tensors: moments.Tensors) -> str | None:
        """Why it could not be written, if so."""
        losses, tokens = self._reporter.losses, self._reporter.tokens
        try:
            checkpoints.write(self._config, tensors, step=step, tokens=tokens, first_loss=losses[0])
        except OSError as error:
            say(f"step {step} could not be saved: {error}")
            return error.strerror or str(error)  # the file's name has the step, and the same trouble is told once
        return None

    def require_finished(self) -> None:
        """Raises TerminatedError where training was left before its end."""
        if self.stopped:
            reached = self._reporter.reached
            raise TerminatedError(f"stopped by SIGTERM after {reached.step} steps, of which {reached.saved} are saved")
