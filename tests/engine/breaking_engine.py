"""An engine whose model breaks as FAULT says: `python -m engine.breaking_engine`, same options.

- remove: the thread dies when an adapter is unloaded;
- hang: the first decode step never ends;
- fail: every pass fails, from the first request on.
"""

import os
import sys
import threading
from typing import Any

import torch
from transformers import DynamicCache

from wardrobe_engine import program
from wardrobe_engine.cache import Batch
from wardrobe_engine.deadlines import Deadlines
from wardrobe_engine.model import Model
from wardrobe_engine.options import Options

FAULT = os.environ["FAULT"]


class BreakingModel(Model):
    """Works until it is asked for what FAULT names."""

    started = False

    def prefill(self, *arguments: Any, **more: Any) -> tuple[torch.Tensor, DynamicCache]:
        if self.started and FAULT == "fail":
            raise RuntimeError("device lost")
        self.started = True
        return super().prefill(*arguments, **more)

    def decode(self, batch: Batch) -> torch.Tensor:
        if FAULT == "hang":
            threading.Event().wait()
        return super().decode(batch)

    def remove(self, slot: int) -> None:
        if FAULT == "remove":
            raise RuntimeError("device lost")
        super().remove(slot)


if __name__ == "__main__":
    program.run(Options.parse(sys.argv[1:]), make_model=BreakingModel, deadlines=Deadlines(stall=1))
