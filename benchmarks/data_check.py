"""What checking a dataset costs, what it finds, and what training on it keeps in memory.

All ratios are of one run. The rows are of about 1 kB, made of the example's words: a passage and words at random.
ROWS sets the larger of the two sizes; the other is a tenth of it. 100000 take some three minutes and 1 GB of disk,
1000000 some twenty and 8 GB. Training is compared with that on FEWEST.
"""

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from wardrobe_trainer.index import Column, Side

ROOT = Path(__file__).parents[1]
DATA = ROOT / "examples" / "tantanila" / "data"
MODEL = ROOT / "examples" / "tantanila" / "model"
SMALLER = 10
"""The larger size over the smaller."""
FEWEST = 10_000
COPIES = 0.01
"""Share of the rows that are near copies of another: 4 of some 150 words are others, one of them in the question, so
that some of them come to the other side."""
LOOK_SECONDS = 0.1

BARE = """
import sys, time, json
from pathlib import Path
from wardrobe_trainer.__main__ import hide_torch
hide_torch()
from wardrobe_trainer.tokens import load_chat
chat = load_chat(Path(sys.argv[1]), "")
began = time.monotonic()
texts = []
def tokenise():
    for found in chat.backend.encode_batch_fast(texts, add_special_tokens=False):
        found.ids
    texts.clear()
for line in open(sys.argv[2]):
    texts.append(chat.render(json.loads(line)["messages"]))
    if len(texts) == 1000:
        tokenise()
tokenise()
print(json.dumps([time.monotonic() - began]))
"""
"""Reads and renders the rows as well. Both of the machine's processors tokenise: tokenizers shares a batch out over
them, unless it is told not to."""
CHECK = """
import sys, time, json
from pathlib import Path
from wardrobe_trainer import console
console.set_up()
from wardrobe_trainer.__main__ import hide_torch
hide_torch()
from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.digests import fingerprint
import numpy as np
from wardrobe_trainer import check as module
from wardrobe_trainer.model_files import model_files
from wardrobe_trainer.rules import near_copies
base, judge = Path(sys.argv[1]), module.judge
def looked_at(evidence):
    flagged = evidence.flagged(near_copies.PLACE)
    np.savez(sys.argv[4], flagged=flagged, side=evidence.table["side"])
    return judge(evidence)
module.judge = looked_at
order = {"base": {"folder": str(base), "fingerprint": fingerprint(base, model_files(base))},
         "dataset_file": sys.argv[2], "source": "pvc://data/x", "sequence_length": 512, "validation_fraction": 0.2,
         "seed": 7, "output_folder": sys.argv[3]}
began = time.monotonic()
report = module.check(CheckConfig.model_validate(order))
print(json.dumps([time.monotonic() - began, report.train_digest, report.tokens_digest]))
"""
"""Leaves beside the report which rows it takes for near copies, and every row's side."""
TRAIN = """
import sys, json, tempfile
from pathlib import Path
from wardrobe_trainer import console
console.set_up()
from wardrobe_models import processors
processors.share()
from wardrobe_contracts.digests import fingerprint
from wardrobe_contracts.training import TrainConfig
from wardrobe_trainer.model_files import model_files
from wardrobe_trainer.train import train
base, data = Path(sys.argv[1]), sys.argv[2]
train_digest, tokens_digest, rows = sys.argv[3], sys.argv[4], int(sys.argv[5])
schedule = {"epochs": 64 / rows, "learning_rate": 1e-4, "batch_size": 16, "micro_batch_size": 2,
            "sequence_length": 512, "seed": 7}
lora = {"rank": 8, "alpha": 16, "dropout": 0, "target_modules": ["all-linear"]}
with tempfile.TemporaryDirectory() as scratch:
    train(TrainConfig.model_validate({
        "base": {"folder": str(base), "fingerprint": fingerprint(base, model_files(base))}, "data_folder": data,
        "train_digest": train_digest, "tokens_digest": tokens_digest, "output_folder": scratch + "/attempt",
        "method": {"name": "LoRA", "lora": lora}, "schedule": schedule, "accelerator": "CPU"}), Path(scratch))
print(json.dumps([]))
"""
"""Four steps: whatever grows with the rows is there from the first."""


@dataclass(frozen=True)
class Figures:
    """Of one size."""

    rows: int
    copies: "Copies"
    bare_seconds: float
    check_seconds: float
    check_bytes: int
    """Of all its processes."""
    train_bytes: int


@dataclass(frozen=True)
class Copies:
    """Planted pairs, and what the check made of them, as shares of all pairs."""

    found: float
    """Of either row it is said."""
    false: float
    """Rows of no pair of which it is said."""
    left_out: float
    """Of the pairs on two sides alone: the one that would be trained on is not."""

    @classmethod
    def of(cls, flagged: Column, side: Column, pairs: int) -> Self:
        """The rows that `write` wrote: the last `pairs` are copies of the first."""
        one, other = np.arange(pairs), np.arange(len(flagged) - pairs, len(flagged))
        said = flagged[one] | flagged[other]
        neither = flagged[pairs : len(flagged) - pairs]
        across = (side[one] == Side.HELDOUT) != (side[other] == Side.HELDOUT)
        left_out = (side[one] == Side.LEFT_OUT) | (side[other] == Side.LEFT_OUT)
        return cls(float(said.mean()), float(neither.sum() / pairs), float(left_out[across].mean()))


def main() -> None:
    """Print the figures beside what is wanted."""
    rows = int(os.environ.get("ROWS", "100000"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, many = measured(folder, rows // SMALLER), measured(folder, rows)
        fewest = few if few.rows <= FEWEST else measured(folder, FEWEST)
    print(f"{'':48}measured  wanted")
    say("check over one batched pass of the tokenizer", many.check_seconds / many.bare_seconds, "<= 3")
    say("rows a second", rows / many.check_seconds, ">= 2000")
    say(f"time a row, {rows} rows over {few.rows}", many.check_seconds / few.check_seconds / SMALLER, "<= 1.3")
    say(f"MiB at {few.rows} rows", few.check_bytes / 2**20, "")
    say(f"MiB at {rows} rows", many.check_bytes / 2**20, "<= 1024")
    say(f"memory, {rows} rows over {few.rows}", many.check_bytes / few.check_bytes, "<= 1.3")
    say("near copies that were planted: found", many.copies.found, ">= 0.95")
    say("rows that are none and are said to be, to these", many.copies.false, "<= 0.01")
    say("of those planted on both sides: left out", many.copies.left_out, ">= 0.95")
    say(f"train's memory, {rows} rows over {fewest.rows}", many.train_bytes / fewest.train_bytes, "<= 1.1")


def say(what: str, value: float, wanted: str) -> None:
    """One line of the table."""
    print(f"{what:48}{value:8.2f}  {wanted}")


def measured(folder: Path, rows: int) -> Figures:
    """Write so many rows, and check and train on them."""
    path, out = folder / f"{rows}.jsonl", folder / "out"
    planted = write(path, rows)
    [bare], _ = run(BARE, MODEL, path)
    (seconds, *digests), memory = run(CHECK, MODEL, path, out, folder / "seen.npz")
    path.unlink()
    seen = np.load(folder / "seen.npz")
    _, training = run(TRAIN, MODEL, out, *digests, rows)
    return Figures(rows, Copies.of(seen["flagged"], seen["side"], planted), bare, seconds, memory, training)


def run(program: str, *arguments: object) -> tuple[list[Any], int]:
    """What a program prints last, and the most memory that it and its children had at a time, in bytes."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=output, env=environment)
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(proportional, family(process.pid))))
            time.sleep(LOOK_SECONDS)
        output.seek(0)
        lines = output.read().splitlines()
    if process.returncode:
        raise SystemExit(f"a measured program ended with {process.returncode}")
    values: list[Any] = json.loads(lines[-1])
    return values, peak


def family(pid: int) -> Iterator[int]:
    """A process and its children, as far as they are there."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from family(int(child))


def proportional(pid: int) -> int:
    """Bytes that a process has, of shared ones its share: what a container is charged for, but for files' pages."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def write(path: Path, rows: int) -> int:
    """Rows to a file; returns how many of them are near copies."""
    copies = int(rows * COPIES)
    with path.open("w") as file:
        for question, answer in conversations(rows - copies, copies):
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": messages}) + "\n")
    return copies


def conversations(rows: int, copies: int) -> Iterator[tuple[str, str]]:
    """Rows, and after them near copies of the first."""
    with gzip.open(DATA / "corpus.txt.gz", "rt") as corpus:
        words = corpus.read().split()
    for place in range(rows + copies):
        number = place % rows
        dice = random.Random(number)  # noqa: S311  not for secrets
        begin = dice.randrange(len(words) - 60)
        answer = [*words[begin : begin + 60], *dice.choices(words, k=80)]
        if place >= rows:
            answer[20] = answer[70] = answer[120] = f"other{place}"
        yield " ".join([*dice.choices(words, k=8), f"{place}?"]), " ".join(answer)


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s")
