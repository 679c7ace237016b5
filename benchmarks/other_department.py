"""Each adapter on each department's held-out rows, on the unquantized base. Run by training_quality.py.

usage: other_department.py '{"model": FOLDER, "adapters": {LINE: FOLDER}, "data": {LINE: CHECK FOLDER}}'
"""

import json
import sys
from pathlib import Path

from peft import PeftModel
from transformers.utils import logging

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.check import HELDOUT_FILE
from wardrobe_trainer.evaluate import prepare, sums
from wardrobe_trainer.heldout import read_frame
from wardrobe_trainer.loading import load_base
from wardrobe_trainer.reading import read_rows
from wardrobe_trainer.scoring import log_probabilities
from wardrobe_trainer.tokens import load_chat


def main() -> None:
    """Print a line for each pair."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it so
    order = json.loads(sys.argv[1])
    print("\nheld-out loss of whole answers, by adapter (rows) and department (columns)")
    departments = sorted(order["data"])
    print(" " * 14 + "".join(f"{department:>14}" for department in departments))
    for line in sorted(order["adapters"]):
        losses = [loss(order["model"], order["adapters"][line], Path(order["data"][name])) for name in departments]
        print(f"{line:14}" + "".join(f"{value:14.3f}" for value in losses))
    print("wanted: in each column, its own department's adapter is the lowest")


def loss(model: str, adapter: str, data: Path) -> float:
    """Mean loss per answer token of an adapter on a department's held-out side."""
    chat = load_chat(Path(model), "")
    rows = prepare(chat, read_rows(data / HELDOUT_FILE, "held-out"), read_frame(data), 1024)
    base = load_base(Path(model), Variant.NONE, Accelerator.CPU)
    candidate = PeftModel.from_pretrained(base, adapter, is_trainable=False).eval()
    log_probs = log_probabilities(candidate, [row.passage for row in rows])
    return sum(sums(log_probs, rows).whole) / sum(len(row.body) for row in rows)


if __name__ == "__main__":
    main()
