"""`wardrobe-trainer inspect|check|train|assess|release`, with the order as JSON in WARDROBE_CONFIG."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import get_args

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Task
from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.inspection import InspectConfig
from wardrobe_contracts.paths import CONFIG_VARIABLE
from wardrobe_contracts.release import ReleaseConfig
from wardrobe_contracts.result import Payload, Result
from wardrobe_contracts.training import TrainConfig
from wardrobe_models import processors

from . import checkpoints_folder, console
from .launcher import node
from .problems import TaskError, TerminatedError
from .task import announce, failed, outcome, output_folder, parse_order, record, recorded

AnyOrder = InspectConfig | CheckConfig | TrainConfig | AssessConfig | ReleaseConfig
ORDERS: Mapping[Task, type[AnyOrder]] = {
    "inspect": InspectConfig,
    "check": CheckConfig,
    "train": TrainConfig,
    "assess": AssessConfig,
    "release": ReleaseConfig,
}
WORKERS: Mapping[Task, tuple[str, str]] = {
    "inspect": ("inspection", "inspect"),
    "check": ("check", "check"),
    "train": ("launcher", "launch"),
    "assess": ("assess", "assess"),
    "release": ("release", "release"),
}
"""Module and function of each task."""


def main() -> None:
    """Run one task and exit with the code that stands for how it ended (`wardrobe_contracts.exits`)."""
    task = _arguments().task
    signal.signal(signal.SIGTERM, _terminate)
    console.set_up()
    processors.share()
    folder, result = run(task, os.environ.get(CONFIG_VARIABLE))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end is known; only its record is left to write
    result = record(result, folder)
    if result.succeeded and task == "train" and folder is not None:
        checkpoints_folder.forget(folder.parent)  # only now is nothing to be done again
    announce(result)
    sys.exit(result.exit_code)


def run(task: Task, text: str | None) -> tuple[Path | None, Result]:
    """Do one task's work, or find that it is done. Returns where the record goes, and the record."""
    try:
        order = parse_order(ORDERS[task], text)
    except TaskError as error:
        return output_folder(text), failed(task, error)
    folder = Path(order.output_folder)
    if isinstance(order, TrainConfig) and node() > 0:  # the first pod's record is the attempt's
        return None, outcome(task, lambda: recorded(task, folder) or worker(task)(order))
    return folder, outcome(task, lambda: recorded(task, folder) or worker(task)(order))


def worker(task: Task) -> Callable[[AnyOrder], Payload | Result]:
    """The function that does a task. Imported late: each task has its own libraries, and torch takes seconds."""
    if task in ("inspect", "check"):
        hide_torch()
    module, name = WORKERS[task]
    work: Callable[[AnyOrder], Payload | Result] = getattr(import_module(f"{__package__}.{module}"), name)
    return work


def hide_torch() -> None:
    """Keep transformers from importing torch: its tokenizers need none, and it costs 300 MB and seconds of start."""
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # None is what makes an import fail


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="wardrobe-trainer", description=__doc__)
    parser.add_argument("task", choices=get_args(Task), help="what to do")
    return parser.parse_args()


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise TerminatedError


if __name__ == "__main__":
    main()
