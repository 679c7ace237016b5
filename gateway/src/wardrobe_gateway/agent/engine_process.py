"""The files between the agent and the wrapper that runs the engine's process (contracts/engine_process.py)."""

import logging
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from wardrobe_contracts import regular_files
from wardrobe_contracts.base import Exchanged, first_error
from wardrobe_contracts.engine_process import HUNG_FILE, ORDER_FILE, STATE_FILE, Ended, Hung, ProcessOrder, ProcessState
from wardrobe_contracts.text import last_that_fit, shorten

MOST_BYTES = 1 << 20
"""Of a file. An order names two sets, of 120 kB at most each (tgi/padding.py)."""
LONGEST_LINE = 300
LONGEST_WORDS = 900
"""Of an engine's last words. Why it ended stands in the last lines."""

Read = TypeVar("Read", bound=Exchanged)

log = logging.getLogger(__name__)


class EngineProcess:
    """The engine's process, by a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: ProcessState | None = None
        """Read at the last look; None where that failed."""

    def state(self) -> ProcessState | None:
        """What the wrapper says; None where no wrapper runs the engine.

        Where the file cannot be read it says once more what it said before, then it is as if nothing ran.
        """
        path = self._folder / STATE_FILE
        try:
            self._last = _understood(path, _content(path), ProcessState) or ProcessState()
        except FileNotFoundError:
            self._last = None
        except OSError as error:
            log.warning("%s cannot be read: %s", path, error)
            last, self._last = self._last, None
            return last or ProcessState()
        return self._last

    def order(self) -> ProcessOrder | None:
        """What was ordered last, by this agent or one before it in this pod."""
        path = self._folder / ORDER_FILE
        try:
            return _understood(path, _content(path), ProcessOrder)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s cannot be read: %s", path, error)
            return None

    def give(self, order: ProcessOrder) -> None:
        """Order, whole or not at all. Raises OSError."""
        self._write(ORDER_FILE, order)

    def kill(self, incarnation: str, why: str) -> None:
        """Have a process killed that hangs, and no other. Raises OSError."""
        self._write(HUNG_FILE, Hung(incarnation=incarnation, message=shorten(why, LONGEST_LINE)))

    def _write(self, name: str, content: Exchanged) -> None:
        partial = self._folder / f"{name}.partial"
        partial.write_text(content.model_dump_json(by_alias=True))
        partial.replace(self._folder / name)


def words(ended: Ended) -> str:
    """How an engine ended, and what it said last."""
    how = f"killed by signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
    if ended.code == 0:
        how += ", as if it had been told to end: streams that were under way are cut"
    lines = [shorten(line, LONGEST_LINE) for line in ended.message.splitlines() if line.strip()]
    return "\n".join([f"the engine ended by itself ({how}):", *last_that_fit(lines, LONGEST_WORDS)]).rstrip(":")


def _content(path: Path) -> bytes:
    """What the engine's container may have written, too. Raises OSError."""
    with regular_files.opened(path) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(f"{path.name} is larger than {MOST_BYTES} bytes")
    return content


def _understood(path: Path, content: bytes, kind: type[Read]) -> Read | None:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        log.warning("%s cannot be read: %s", path, first_error(error))
        return None
