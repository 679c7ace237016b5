"""What checking a dataset costs: time beside one pass of the tokenizer, memory by rows, near copies found.

All ratios are of one run. The rows are of about 1 kB, made of the example's words: a passage and words at random.
ROWS sets the larger of the two sizes; with 1000000 it takes about an hour and 6 GB of disk.
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
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = ROOT / "examples" / "tantanila" / "data"
MODEL = ROOT / "examples" / "tantanila" / "model"
SMALLER = 10
"""The larger size over the smaller."""
COPIES = 0.01
"""Share of the rows that are near copies of another, with 3 of some 140 words replaced."""

BARE = """
import sys, time, json
from pathlib import Path
from wardrobe_trainer.__main__ import hide_torch
hide_torch()
from wardrobe_trainer.tokens import load_chat
chat = load_chat(Path(sys.argv[1]), "")
began, spent = time.monotonic(), time.process_time()
texts = []
for line in open(sys.argv[2]):
    texts.append(chat.render(json.loads(line)["messages"]))
    if len(texts) == 1000:
        chat.backend.encode_batch_fast(texts, add_special_tokens=False)
        texts = []
print(json.dumps([time.monotonic() - began, time.process_time() - spent]))
"""
CHECK = """
import sys, time, json
from pathlib import Path
from wardrobe_trainer import console
console.set_up()
from wardrobe_trainer.__main__ import hide_torch
hide_torch()
from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.digests import fingerprint
from wardrobe_trainer.check import check
from wardrobe_trainer.model_files import model_files
base = Path(sys.argv[1])
order = {"base": {"folder": str(base), "fingerprint": fingerprint(base, model_files(base))},
         "dataset_file": sys.argv[2], "source": "pvc://data/x", "sequence_length": 512, "validation_fraction": 0.2,
         "seed": 7, "output_folder": sys.argv[3]}
began, spent = time.monotonic(), time.process_time()
report = check(CheckConfig.model_validate(order))
near = next((found.breaking for found in report.findings if found.rule == "nearCopies"), 0)
print(json.dumps([time.monotonic() - began, time.process_time() - spent, near, report.rows]))
"""


def main() -> None:
    """Print the figures beside what is wanted."""
    rows = int(os.environ.get("ROWS", "100000"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, few_memory, *_ = measured(folder, rows // SMALLER)
        found, memory, planted, bare = measured(folder, rows)
        print(f"{'':44}measured  wanted")
        say("check over one batched pass, time", found[0] / bare[0], "<= 3")
        say("the same, processor time", found[1] / bare[1], "")
        say("rows a second", rows / found[0], ">= 2000")
        say(f"time a row, {rows} rows over {rows // SMALLER}", found[0] / few[0] / SMALLER, "")
        say(f"MiB at {rows} rows", memory / 2**20, "<= 1024")
        say(f"over {rows // SMALLER} rows", memory / few_memory, "<= 1.3")
        say("near copies found / planted", found[2] / planted, ">= 0.95, <= 1.01")


def say(what: str, value: float, wanted: str) -> None:
    """One line of the table."""
    print(f"{what:44}{value:8.2f}  {wanted}")


def measured(folder: Path, rows: int) -> tuple[list[float], int, int, list[float]]:
    """Seconds, processor seconds and near copies of a check; its bytes; copies planted; seconds of the bare pass."""
    path = folder / f"{rows}.jsonl"
    planted = write(path, rows)
    bare, _ = run(BARE, MODEL, path)
    found, memory = run(CHECK, MODEL, path, folder / "out")
    path.unlink()
    return found, memory, planted, bare


def run(program: str, *arguments: Path) -> tuple[list[float], int]:
    """What a program prints last, and the most memory that it had, in bytes."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)], stdout=output, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().splitlines()
    if process.returncode:
        raise SystemExit(f"a measured program ended with {process.returncode}")
    values: list[float] = json.loads(lines[-1])
    return values, usage.ru_maxrss * 1024  # Linux counts in KiB


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
        yield " ".join([*dice.choices(words, k=8), f"{number}?"]), " ".join(answer)


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s")
