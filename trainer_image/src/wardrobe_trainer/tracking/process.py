"""`python -m wardrobe_trainer.tracking.process FOLDER`: tells the server what the commission in that folder says.

It gives way to whatever else wants the processors, and nobody waits for it longer than beside.py says.
"""

import os
import signal
import sys
from pathlib import Path
from threading import Event

from wardrobe_trainer import console
from wardrobe_trainer.console import say

from . import curve
from .commission import COMMISSION_FILE, Commission, write_state
from .curve import CURVE_FILE
from .sending import Sender

NICE = 19
"""Of 20: it runs in what others leave of the processors."""
LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries while the server takes nothing."""


def main() -> None:
    """Until the curve ends and this process is told to stop, or once."""
    os.nice(NICE)
    console.set_up()
    stopped = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # which the launcher holds back
    folder = Path(sys.argv[1])
    commission = Commission.model_validate_json((folder / COMMISSION_FILE).read_bytes())
    sender = Sender(commission)
    if commission.curve is None:
        write_state(folder, sender.send())
    else:
        _follow(commission, Path(commission.curve), sender, folder, stopped)


def _follow(commission: Commission, live: Path, sender: Sender, folder: Path, stopped: Event) -> None:
    pause, kept = commission.every_seconds, Path(commission.folder) / CURVE_FILE
    while os.getppid() == commission.parent:
        try:
            curve.bring(live, kept)
        except OSError as error:
            say(f"the curve is not kept: {error}")
        found = sender.send()
        write_state(folder, found)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS) if found.fault else commission.every_seconds
        if stopped.wait(pause):
            return


if __name__ == "__main__":
    main()
