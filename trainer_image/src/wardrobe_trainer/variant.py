"""One variant of the base: `python -m wardrobe_trainer.variant FOLDER`, started by `variants` only."""

import os
import sys
from pathlib import Path

from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.result import Result

from . import console
from .files import write_durably
from .task import attempted
from .variants import END_FILE, ORDER_FILE, End, Measured, VariantOrder


def main() -> None:
    """Measure, and leave how it ended in the folder. SIGTERM ends it at once: who started it says so."""
    console.set_up()
    folder = Path(sys.argv[1])
    order = VariantOrder.model_validate_json((folder / ORDER_FILE).read_bytes())

    def work() -> Measured:
        from .measuring import measure  # noqa: PLC0415 - after the console: transformers reads its verbosity once

        return measure(order)

    write_durably(folder / END_FILE, _end(order, attempted("assess", work)).model_dump_json(by_alias=True).encode())
    sys.stdout.flush()
    os._exit(0)  # nothing of torch's has to take its leave


def _end(order: VariantOrder, done: Measured | Result) -> End:
    if not isinstance(done, Result):
        return End(measured=done)
    if done.exit_code is not ExitCode.OUT_OF_MEMORY:
        return End(failed=done)
    from .measuring import needed_bytes  # noqa: PLC0415 - as above

    return End(failed=done, needed_bytes=needed_bytes(order))


if __name__ == "__main__":
    main()
