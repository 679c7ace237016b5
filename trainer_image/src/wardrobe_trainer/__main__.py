"""`wardrobe-trainer inspect|check|import|train|assess|release|verify`, with the order as JSON in WARDROBE_CONFIG."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import get_args

from pydantic import Field
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Task
from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.command import CommandLine
from wardrobe_contracts.imports import ImportConfig
from wardrobe_contracts.inspection import InspectConfig
from wardrobe_contracts.paths import CONFIG_VARIABLE
from wardrobe_contracts.release import ReleaseConfig
from wardrobe_contracts.result import Payload, Result
from wardrobe_contracts.training import TrainConfig, TrainingSummary
from wardrobe_contracts.verification import VerifyConfig
from wardrobe_models import processors

from . import checkpoints_folder, console, sources
from .launcher import node
from .problems import TaskError, TerminatedError
from .task import announce, failed, outcome, output_folder, parse_order, record, record_more, recorded
from .tracking.beside import concluded

AnyOrder = InspectConfig | CheckConfig | ImportConfig | TrainConfig | AssessConfig | ReleaseConfig | VerifyConfig
ORDERS: Mapping[Task, type[AnyOrder]] = {
    "inspect": InspectConfig,
    "check": CheckConfig,
    "import": ImportConfig,
    "train": TrainConfig,
    "assess": AssessConfig,
    "release": ReleaseConfig,
    "verify": VerifyConfig,
}
WORKERS: Mapping[Task, tuple[str, str]] = {
    "inspect": ("inspection", "inspect"),
    "check": ("check", "check"),
    "import": ("importing", "bring_in"),
    "train": ("launcher", "launch"),
    "assess": ("assess", "assess"),
    "release": ("release", "release"),
    "verify": ("verifying", "verify_artifact"),
}
"""Module and function of each task."""


class Options(CommandLine):
    """One task of a run; its order is the JSON in WARDROBE_CONFIG. Exits with the code of how it ended."""

    model_config = SettingsConfigDict(cli_prog_name="wardrobe-trainer")

    task: CliPositionalArg[Task] = Field(description=f"what to do: {', '.join(get_args(Task))}")


def main() -> None:
    """Run one task and exit with the code that stands for how it ended (`wardrobe_contracts.exits`)."""
    task = Options.parse(sys.argv[1:]).task
    signal.signal(signal.SIGTERM, _terminate)
    console.set_up()
    processors.share()
    text = os.environ.get(CONFIG_VARIABLE)
    order, folder, result = run(task, text)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the end is known; only its record is left to write
    result = track(order, record(first(result, folder), folder), folder)
    if folder is not None:
        forget(folder, result)
    announce(result)
    sys.exit(result.exit_code)


def forget(folder: Path, result: Result) -> None:
    """Remove what was kept for a pod that would have gone on; where one does, what was fetched is left to it."""
    if isinstance(result.payload, TrainingSummary):
        checkpoints_folder.forget(folder.parent)
    if result.exit_code.infrastructure:
        sources.hand_over(folder)
    else:
        sources.forget(folder)


def run(task: Task, text: str | None) -> tuple[AnyOrder | None, Path | None, Result]:
    """Do one task's work, or find that it is done. Returns the order, where the record goes, and the record."""
    try:
        order = parse_order(ORDERS[task], text)
    except TaskError as error:
        return None, output_folder(text), failed(task, error)
    folder = Path(order.output_folder)
    trains = isinstance(order, TrainConfig)
    result = outcome(task, lambda: recorded(task, folder, for_good=trains) or worker(task)(order))
    return order, (None if trains and node() > 0 else folder), result  # the first pod's record is the attempt's


def first(result: Result, folder: Path | None) -> Result:
    """What another pod has recorded meanwhile, one made in this one's place while its node was not reached: it stands.

    Training is left out: each attempt at it has a folder of its own, and each pod of one an end of its own.
    """
    if folder is None or result.task == "train":
        return result
    return recorded(result.task, folder, for_good=False) or result


def track(order: AnyOrder | None, result: Result, folder: Path | None) -> Result:
    """The result with what a server of the person's has of the run, where one is to be told: recorded once more."""
    if folder is None or not isinstance(order, TrainConfig | AssessConfig | ReleaseConfig):
        return result
    tracked = concluded(order, result)
    if tracked is None:
        return result
    return record_more(result, result.model_copy(update={"tracked": tracked}), folder)


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


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise TerminatedError


if __name__ == "__main__":
    main()
