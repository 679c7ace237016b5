"""What measuring an adapter on one variant costs beside two bare forward passes over its rows. Ratios are of one run.

Both load the example's base and an adapter in a process of their own, on CPU. The bare passes, one with the adapter and
one without, go over the same rows in the same batches, with the logits of whole sequences, and score nothing.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.record_artifacts import Recipe, write

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Accelerator, BaseLocation, Method, Variant
from wardrobe_contracts.check import CheckConfig, CheckReport
from wardrobe_contracts.inspection import InspectConfig, Inspection
from wardrobe_contracts.manifest import BaseReference, Lineage
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.training import Lora, Schedule
from wardrobe_trainer.check import check
from wardrobe_trainer.inspection import inspect
from wardrobe_trainer.variants import VariantOrder

EXAMPLE = Path(__file__).parents[1] / "examples" / "tantanila"
DIGEST = "sha256:" + "0" * 64
RANK, TOKENS = 8, 512
SCRIPTS = {
    "bare": """
from peft import PeftModel
from wardrobe_trainer.loading import load_base
from wardrobe_trainer.measuring import prepared
from wardrobe_trainer.scoring import batches
rows = [row.passage.ids for row in prepared(order.config).rows]
base = load_base(Path(order.config.base.folder), order.variant, order.config.accelerator)
model = PeftModel.from_pretrained(base, order.config.candidate_folder).eval()
def go():
    for batch in batches([len(row) for row in rows]):
        longest = max(len(rows[at]) for at in batch)
        ids = torch.tensor([rows[at] + [0] * (longest - len(rows[at])) for at in batch])
        model(input_ids=ids, attention_mask=(ids != 0).long(), use_cache=False)
with torch.inference_mode():
    go()
    with model.disable_adapter():
        go()
""",
    "assessed": """
from wardrobe_trainer.measuring import measure
measure(order)
""",
}
BEGIN = """
import os, sys, time, torch
from pathlib import Path
from wardrobe_trainer.hardware import peak_bytes
from wardrobe_trainer.variants import VariantOrder
import peft, wardrobe_trainer.loading
order = VariantOrder.model_validate_json(sys.argv[1])
began = time.monotonic()
"""
END = """
print("FOUND", time.monotonic() - began, peak_bytes(os.getpid()))
"""


def main() -> None:
    """Print a line for each variant."""
    with tempfile.TemporaryDirectory() as folder:
        order = prepare(Path(folder))
        print(f"\n{order.lineage.heldout_rows} held-out rows; wanted: at most 2.5 times the time, 1.1 times the memory")
        for variant in (Variant.NONE, Variant.NF4):
            text = VariantOrder(config=order, variant=variant, candidate=DIGEST).model_dump_json(by_alias=True)
            (bare_seconds, bare_peak), (seconds, peak) = (child(SCRIPTS[name], text) for name in ("bare", "assessed"))
            print(
                f"{variant}: {seconds:.1f} s, {seconds / bare_seconds:.2f} times two bare passes; "
                f"peak {peak / 2**30:.2f} GiB, {peak / bare_peak:.2f} times theirs"
            )


def child(script: str, order: str) -> tuple[float, float]:
    """Seconds and peak bytes of a process of its own."""
    command = [sys.executable, "-c", f"{BEGIN}{script}{END}", order]
    quiet = {**os.environ, "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=quiet).stdout
    seconds, peak = output.rpartition("FOUND ")[2].split()
    return float(seconds), float(peak)


def prepare(folder: Path) -> AssessConfig:
    """Half of cardiology's rows held out, and an adapter of random weights."""
    write(folder / "adapter", Recipe(1, rank=RANK))
    found = inspect(
        InspectConfig(base_folder=str(EXAMPLE / "model"), source="pvc://models/base", output_folder="unused")
    )
    location = BaseLocation(folder=str(EXAMPLE / "model"), fingerprint=found.fingerprint)
    report = check(
        CheckConfig(
            base=location,
            dataset_file=str(EXAMPLE / "data" / "cardiology.jsonl"),
            source="pvc://datasets/cardiology.jsonl",
            sequence_length=TOKENS,
            validation_fraction=0.5,
            seed=7,
            output_folder=str(folder / "check"),
        )
    )
    (folder / "check" / RESULT_FILE).write_text(Result.success("done", report).model_dump_json(by_alias=True))
    return order_of(folder, location, found, report)


def order_of(folder: Path, location: BaseLocation, found: Inspection, report: CheckReport) -> AssessConfig:
    """As the operator would write it, for a run that trained on the base as stored."""
    schedule = Schedule(epochs=1, learning_rate=1e-4, batch_size=8, micro_batch_size=8, sequence_length=TOKENS, seed=7)
    return AssessConfig(
        run="bench",
        line="bench",
        base=location,
        base_reference=BaseReference(
            name="base", digest=found.digest, chat_template_digest=found.tokenizer.chat_template_digest
        ),
        data_folder=str(folder / "check"),
        heldout_digest=report.heldout_digest,
        heldout_tokens_digest=report.heldout_tokens_digest,
        candidate_folder=str(folder / "adapter"),
        line_folder=str(folder / "line"),
        output_folder=str(folder / "assess"),
        variants=[Variant.NONE, Variant.NF4],
        lineage=Lineage(
            job="bench",
            job_uid="bench",
            dataset_source="pvc://datasets/cardiology.jsonl",
            dataset_digest=report.dataset_digest,
            train_rows=report.train_rows,
            heldout_rows=report.heldout_rows,
            method=Method.LORA,
            lora=Lora(rank=RANK, alpha=16, dropout=0, target_modules=["all-linear"]),
            schedule=schedule,
            packages={},
        ),
        accelerator=Accelerator.CPU,
    )


if __name__ == "__main__":
    main()
