"""What training does for its curve: a line for a step, to a file of the container."""

import time
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from wardrobe_trainer.console import say
from wardrobe_trainer.reporting import Reporter

from .curve import CURVE_FILE, POINTS, Point


class CurveWriter(TrainerCallback):
    """Comes after the reporter, which refuses a loss that is no number, and knows the tokens."""

    def __init__(self, folder: Path, reporter: Reporter, memory: Callable[[], int]) -> None:
        self._path = folder / CURVE_FILE
        self._reporter = reporter
        self._memory = memory
        self._ended = False
        self._since, self._tokens = 0.0, 0
        """Of the point before."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._since, self._tokens = time.monotonic(), self._reporter.tokens

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write a step down; the one that only makes room for what was saved is none."""
        if logs is None or "loss" not in logs or self._ended:
            return
        step, reporter = state.global_step, self._reporter
        if step <= reporter.reached.resumed:
            self._since, self._tokens = time.monotonic(), reporter.tokens
        elif step % ceil(state.max_steps / POINTS) == 0 or step == state.max_steps:
            self._write(step, logs["learning_rate"])

    def _write(self, step: int, learning_rate: float) -> None:
        now, tokens = time.monotonic(), self._reporter.tokens
        point = Point(
            step=step,
            time=int(time.time() * 1000),
            loss=self._reporter.losses[-1],
            learning_rate=learning_rate,
            tokens_per_second=round((tokens - self._tokens) / max(now - self._since, 1e-6), 1),
            peak_memory_bytes=self._memory(),
        )
        self._since, self._tokens = now, tokens
        try:
            with self._path.open("ab", buffering=0) as file:
                file.write(point.model_dump_json(by_alias=True).encode() + b"\n")
        except OSError as error:  # a curve is not worth a training
            say(f"the curve ends before step {step}: {error}")
            self._ended = True
