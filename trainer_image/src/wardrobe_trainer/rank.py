"""One rank of an attempt: `python -m wardrobe_trainer.rank`, started by the launcher only."""

import os
import sys
from pathlib import Path

from wardrobe_contracts.paths import CONFIG_VARIABLE
from wardrobe_contracts.result import RESULT_FILE
from wardrobe_contracts.training import Progress, TrainConfig, TrainingSummary

from . import console, progress
from .files import write_durably
from .launcher import RANK_FOLDER_VARIABLE
from .task import outcome

_RENDEZVOUS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def main() -> None:
    """Train, leave the result in the rank's folder, exit with its code.

    SIGTERM keeps its default action, the immediate end: there is nothing to save yet, and the launcher cleans up.
    """
    console.set_up()
    forget_lone_rendezvous()
    folder = Path(os.environ[RANK_FOLDER_VARIABLE])

    def work() -> TrainingSummary:
        config = TrainConfig.model_validate_json(os.environ[CONFIG_VARIABLE])
        progress.write(folder, Progress(stage="Loading"))
        from .train import train  # noqa: PLC0415 - torch takes seconds, in which the progress already says Loading

        return train(config, folder)

    result = outcome("train", work)
    write_durably(folder / RESULT_FILE, result.model_dump_json(by_alias=True).encode())
    sys.exit(result.exit_code)


def forget_lone_rendezvous() -> None:
    """A rank on its own needs no process group; accelerate would make one and wrap the model for it."""
    if os.environ.get("WORLD_SIZE") == "1":
        for name in _RENDEZVOUS:
            os.environ.pop(name, None)


if __name__ == "__main__":
    main()
