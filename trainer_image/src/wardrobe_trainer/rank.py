"""One rank of an attempt: `python -m wardrobe_trainer.rank`, started by the launcher only."""

import faulthandler
import os
import signal
import sys
from pathlib import Path

from wardrobe_contracts.paths import CONFIG_VARIABLE
from wardrobe_contracts.result import RESULT_FILE
from wardrobe_contracts.training import Progress, TrainConfig, TrainingSummary

from . import console, last_lines, progress
from .files import write_durably
from .launcher import RANK_FOLDER_VARIABLE
from .task import outcome


def main() -> None:
    """Train, leave the result in the rank's folder, exit with its code.

    SIGTERM ends it at once, but for the steps of training (saving.py): the launcher says how it ended.
    """
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the launcher asks where a stalled rank stands
    console.set_up()
    folder = Path(os.environ[RANK_FOLDER_VARIABLE])
    last_lines.keep(folder)

    def work() -> TrainingSummary:
        config = TrainConfig.model_validate_json(os.environ[CONFIG_VARIABLE])
        progress.write(folder, Progress(stage="Loading"))
        from .peers import Place  # noqa: PLC0415 - torch takes seconds, in which the progress already says Loading
        from .train import train  # noqa: PLC0415

        return train(config, folder, Place.from_environment())

    result = outcome("train", work)
    write_durably(folder / RESULT_FILE, result.model_dump_json(by_alias=True).encode())
    sys.stdout.flush()
    os._exit(result.exit_code)  # threads of process groups may crash an interpreter that takes its leave


if __name__ == "__main__":
    main()
