"""Which rows an optimizer step takes, and which rank takes them in which micro-batch.

Seed and batch size alone decide the rows of a step, so that a run on other processes is the same run. Within a step,
rows of like length share a micro-batch: what is padded is computed for nothing.
"""

import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from wardrobe_contracts.training import TrainConfig

NO_ROW = -1
"""Index of a row without a label, for a rank whose share of an epoch's last step is empty: it must come along."""


@dataclass(frozen=True)
class Plan:
    """The rows of a whole training, for all ranks. `lengths` are the rows' tokens."""

    lengths: Sequence[int]
    seed: int
    epochs: float
    batch_size: int
    micro_batch_size: int
    processes: int

    @classmethod
    def of(cls, config: TrainConfig, lengths: Sequence[int]) -> "Plan":
        """As ordered."""
        schedule = config.schedule
        return cls(
            lengths,
            schedule.seed,
            schedule.epochs,
            schedule.batch_size,
            schedule.micro_batch_size,
            config.processes.total,
        )

    @property
    def steps_per_epoch(self) -> int:
        """The last step of an epoch has the rows that are left: no row comes twice."""
        return ceil(len(self.lengths) / self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return max(1, ceil(self.steps_per_epoch * self.epochs))

    @property
    def accumulation(self) -> int:
        """Micro-batches of a rank per step."""
        return self.batch_size // (self.micro_batch_size * self.processes)

    def rows(self, step: int) -> list[int]:
        """Rows of a step, which is counted from 0."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = _order(self.seed, epoch, len(self.lengths))
        return order[within * self.batch_size : (within + 1) * self.batch_size].tolist()

    def micro_batches(self, step: int, rank: int) -> list[list[int]]:
        """What a rank passes through the model in a step, `accumulation` times.

        Those that run at the same time on different ranks are alike, too: the slowest is waited for.
        """
        rows = sorted(self.rows(step), key=lambda row: (-self.lengths[row], row))
        size = self.micro_batch_size
        chunks = [rows[begin : begin + size] for begin in range(0, self.batch_size, size)]
        return [chunk or [NO_ROW] for chunk in chunks[rank :: self.processes]]

    def of_rank(self, rank: int, done: int = 0) -> Iterator[list[int]]:
        """A rank's micro-batches, of all steps after the first `done`."""
        for step in range(done, self.steps):
            yield from self.micro_batches(step, rank)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, rows: int) -> "array[int]":
    """Of an epoch, in 4 bytes a row."""
    order = array("I", range(rows))
    random.Random(f"{seed}:{epoch}").shuffle(order)  # noqa: S311  not for secrets
    return order
