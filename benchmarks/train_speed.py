"""What training costs here beside a plain TRL script, and what its interruptions cost. All ratios are of one run.

Attempts are those of a pod, with the launcher and its ranks; QLoRA on the example's base, on CPU.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.attempts import Attempt, Order, Stage

from wardrobe_contracts.base import Accelerator, BaseLocation, Variant
from wardrobe_contracts.digests import sha256_file
from wardrobe_contracts.inspection import InspectConfig
from wardrobe_contracts.training import (
    CheckpointPlan,
    Lora,
    QloraMethod,
    Quantization,
    Schedule,
    TrainConfig,
    TrainingSummary,
)
from wardrobe_trainer.inspection import inspect

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "examples" / "tantanila" / "model"
LORA = Lora(rank=8, alpha=16, dropout=0, target_modules=["all-linear"])
EQUAL, MIXED = "rows of equal length", "rows of log-normal lengths"
ROWS = 160
NEVER = CheckpointPlan(every_seconds=86_400)

PLAIN = """
import json, sys, time
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import set_seed
from trl import SFTConfig, SFTTrainer
from pathlib import Path
from wardrobe_contracts.training import TrainConfig
from wardrobe_trainer.loading import load_base
from wardrobe_contracts.base import Variant
from wardrobe_trainer.tokens import load_chat
from wardrobe_trainer.train import load_examples
config = TrainConfig.model_validate_json(sys.argv[1])
chat = load_chat(Path(config.base.folder), config.base.chat_prelude)
rows = load_examples(config, chat)
model = get_peft_model(load_base(Path(config.base.folder), Variant.NF4, config.accelerator),
    LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear"))
chat.tokenizer.pad_token = chat.tokenizer.pad_token or chat.tokenizer.eos_token
schedule = config.schedule
settings = SFTConfig(output_dir=sys.argv[2], num_train_epochs=schedule.epochs, learning_rate=schedule.learning_rate,
    per_device_train_batch_size=schedule.micro_batch_size,
    gradient_accumulation_steps=schedule.gradient_accumulation_steps(config.processes.total),
    max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, gradient_checkpointing=False, use_cpu=True,
    bf16=False,
    optim="adamw_torch", save_strategy="no", report_to="none", disable_tqdm=True, logging_steps=1, seed=7,
    dataloader_pin_memory=False)
trainer = SFTTrainer(model=model, args=settings, train_dataset=Dataset.from_list(rows), processing_class=chat.tokenizer)
for parameter in model.parameters():
    if parameter.requires_grad:
        parameter.data = parameter.data.float()
began = time.monotonic()
trainer.train()
tokens = sum(len(row["input_ids"]) for row in rows) * schedule.epochs
print("SPEED", tokens / (time.monotonic() - began))
"""


def main() -> None:
    """Print the figures beside what is wanted."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        fingerprint = inspect(
            InspectConfig(base_folder=str(MODEL), source="pvc://models/base", output_folder="unused")
        ).fingerprint
        equal, mixed = (maker(place, kind, fingerprint) for kind in (EQUAL, MIXED))
        ours = speed(Attempt(equal, place / "alone", rows=ROWS))
        beside_plain(EQUAL, equal, place, ours, "the tokens/s of a plain TRL script (wanted: 0.97)")
        grouped = speed(Attempt(mixed, place / "mixed", rows=ROWS))
        beside_plain(MIXED, mixed, place, grouped, "the non-pad tokens/s of micro-batches at random (wanted: 1.3)")
        for stage in (0, 1, 2, 3):
            shared = speed(two(equal, place, stage))
            print(
                f"two processes, ZeRO stage {stage}: {shared / ours:.2f} times the tokens/s of one, on the same cores"
            )
        interruptions(equal, place)


def maker(place: Path, kind: str, fingerprint: str) -> Order:
    """As the tests' fixture: orders on rows of one kind."""
    data = place / kind.replace(" ", "-")
    data.mkdir()
    words = ["heart", "lung", "valve", "rhythm", "pulse", "ward", "clinic", "nurse", "doctor", "please", "tomorrow"]
    chance = random.Random(7)  # noqa: S311  not for secrets

    def row() -> str:
        count = 400 if kind == EQUAL else min(400, max(4, int(chance.lognormvariate(4.0, 0.9))))
        said = " ".join(chance.choices(words, k=count))
        turns = [{"role": "user", "content": "What now?"}, {"role": "assistant", "content": said}]
        return json.dumps({"messages": turns})

    (data / "train.jsonl").write_text("".join(f"{row()}\n" for _ in range(ROWS)))

    def order(_: int, *, output_folder: str, schedule: dict[str, float]) -> TrainConfig:
        quantization = Quantization(type=Variant.NF4, double_quantization=True)
        return TrainConfig(
            base=BaseLocation(folder=str(MODEL), fingerprint=fingerprint),
            data_folder=str(data),
            train_digest=sha256_file(data / "train.jsonl"),
            output_folder=output_folder,
            method=QloraMethod(lora=LORA, quantization=quantization),
            schedule=Schedule(
                epochs=schedule["epochs"],
                learning_rate=1e-4,
                batch_size=16,
                micro_batch_size=4,
                sequence_length=256,
                seed=7,
            ),
            accelerator=Accelerator.CPU,
        )

    return order


def two(order: Order, place: Path, stage: Stage) -> Attempt:
    """Two processes of one pod."""
    return Attempt(order, place / f"two-{stage}", rows=ROWS, processes=2, stage=stage)


def speed(attempt: Attempt) -> float:
    """Non-pad tokens a second."""
    attempt.train()
    summary = attempt.result().payload
    assert isinstance(summary, TrainingSummary)
    return summary.tokens / summary.seconds


def beside_plain(kind: str, order: Order, place: Path, ours: float, what: str) -> None:
    """Print it twice: a pod's threads give way to others on its node, which costs where nobody else is there."""
    alike = ours / speed_of_plain(order, place, OMP_WAIT_POLICY="PASSIVE")
    print(f"{kind}: {ours / speed_of_plain(order, place):.2f} times {what};")
    print(f"    {alike:.2f} times where that script's threads wait as a pod's do (OMP_WAIT_POLICY=PASSIVE)")


def speed_of_plain(order: Order, place: Path, **environment: str) -> float:
    """The same by TRL alone."""
    config = order(ROWS, output_folder=str(place / "plain"), schedule={"epochs": 2})
    command = [sys.executable, "-c", PLAIN, config.model_dump_json(by_alias=True), str(place / "plain")]
    quiet = {**os.environ, "TRANSFORMERS_VERBOSITY": "error", **environment}
    output = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, env=quiet
    ).stdout
    return float(output.rpartition("SPEED ")[2])


def interruptions(order: Order, place: Path) -> None:
    """What a checkpoint costs, how long a pod takes to leave, and the next one to go on."""
    first = Attempt(order, place / "run", 1, rows=ROWS, checkpoints=NEVER, schedule={"epochs": 20})
    cold, process = first_step(first)
    time.sleep(3)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    gone = time.monotonic() - began
    reached = first.result().reached
    assert reached is not None
    step, save = reached.step_seconds or 0.0, reached.save_seconds or 0.0
    print(f"a checkpoint a minute: {save / 60:.2%} of the time (wanted: 2 %)")
    print(f"SIGTERM to saved and gone: {gone:.2f} s (wanted: {step + save + 3:.2f}, a step, a save and 3 s)")
    warm, process = first_step(Attempt(order, place / "run", 2, rows=ROWS, checkpoints=NEVER, schedule={"epochs": 20}))
    process.terminate()  # its ranks go with it
    process.communicate()
    print(f"restart to the next step: {warm / cold:.2f} times a cold start (wanted: 1.2)")


def first_step(attempt: Attempt) -> "tuple[float, subprocess.Popen[str]]":
    """Seconds until the log has a first step that counts."""
    began, process = time.monotonic(), attempt.start()
    assert process.stdout is not None
    while not re.search(r"step \d+/", process.stdout.readline()):
        assert process.poll() is None
    return time.monotonic() - began, process


if __name__ == "__main__":
    main()
