"""Memory and speed of training on a GPU beside a plain TRL script, and of the assessment after it.

Bases have the shapes of Llama 3.2 1B and 3.1 8B and random weights, made here: neither number depends on what a base
knows. `tiny` is for trying this script, also without a GPU.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
from support.attempts import Attempt
from transformers import LlamaConfig, LlamaForCausalLM

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Accelerator, BaseLocation, Method, Variant
from wardrobe_contracts.base_files import WEIGHTS_INDEX, describing_files
from wardrobe_contracts.check import CheckConfig, CheckReport
from wardrobe_contracts.inspection import InspectConfig, Inspection
from wardrobe_contracts.manifest import BaseReference, Lineage
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.training import (
    Lora,
    LoraMethod,
    QloraMethod,
    Quantization,
    Schedule,
    TrainConfig,
    TrainingSummary,
)
from wardrobe_trainer.check import check
from wardrobe_trainer.inspection import inspect

EXAMPLE = Path(__file__).parents[1] / "examples" / "tantanila" / "model"
GIB = 2**30
QLORA_8B_GIB = 14
"""Wanted, at 4 rows of 1,024 tokens."""
LORA = Lora(rank=16, alpha=32, dropout=0, target_modules=["all-linear"])
HELD_OUT = 0.2
STEPS = 6
MICRO_BATCH = 4


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama, as its config.json has them."""

    hidden: int
    inner: int
    layers: int
    heads: int
    vocabulary: int
    tied: bool
    tokens: int = 1024
    """Of a row."""


SHAPES = {
    "tiny": Shape(64, 128, 2, 8, 4096, tied=True, tokens=128),
    "1B": Shape(2048, 8192, 16, 32, 128_256, tied=True),
    "8B": Shape(4096, 14_336, 32, 32, 128_256, tied=False),
}

PLAIN = """
import sys, time, torch
from pathlib import Path
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from trl import SFTConfig, SFTTrainer
from wardrobe_contracts.training import QloraMethod, TrainConfig
from wardrobe_trainer.tokens import load_chat
from wardrobe_trainer.train import load_examples
config = TrainConfig.model_validate_json(sys.argv[1])
gpu = config.accelerator == "GPU"
dtype = torch.bfloat16 if gpu else torch.float32
four_bits = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
    bnb_4bit_compute_dtype=dtype) if isinstance(config.method, QloraMethod) else None
chat = load_chat(Path(config.base.folder), config.base.chat_prelude)
rows = load_examples(config, chat)
model = AutoModelForCausalLM.from_pretrained(config.base.folder, dtype=dtype, quantization_config=four_bits,
    device_map={"": "cuda:0" if gpu else "cpu"})
chat.tokenizer.pad_token = chat.tokenizer.pad_token or chat.tokenizer.eos_token
schedule = config.schedule
settings = SFTConfig(output_dir=sys.argv[2], num_train_epochs=schedule.epochs, learning_rate=schedule.learning_rate,
    per_device_train_batch_size=schedule.micro_batch_size, gradient_checkpointing=gpu, use_cpu=not gpu, bf16=gpu,
    gradient_accumulation_steps=schedule.gradient_accumulation_steps(1), max_length=None,
    dataset_kwargs={"skip_prepare_dataset": True}, optim="adamw_torch", save_strategy="no", report_to="none",
    disable_tqdm=True, logging_steps=1, seed=7)
trainer = SFTTrainer(model=model, args=settings, train_dataset=Dataset.from_list(rows),
    processing_class=chat.tokenizer,
    peft_config=LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"))
began = time.monotonic()
trainer.train()
seconds = time.monotonic() - began
print("FOUND", sum(len(row["input_ids"]) for row in rows) * schedule.epochs / seconds,
    torch.cuda.max_memory_allocated() if gpu else 0)
"""

ASSESS = """
import sys, torch
from wardrobe_contracts.assessment import AssessConfig
from wardrobe_trainer.measuring import measure
from wardrobe_trainer.variants import VariantOrder
config = AssessConfig.model_validate_json(sys.argv[1])
for variant in config.variants:
    measure(VariantOrder(config=config, variant=variant, candidate="sha256:" + "0" * 64))
print("FOUND", torch.cuda.max_memory_allocated() if config.accelerator == "GPU" else 0)
"""


@dataclass(frozen=True)
class TrainingData:
    """A base and checked rows."""

    folder: Path
    base: Inspection
    report: CheckReport
    tokens: int

    @property
    def location(self) -> BaseLocation:
        """Of the base."""
        return BaseLocation(folder=str(self.folder / "base"), fingerprint=self.base.fingerprint)


def main() -> None:
    """Print the figures of each shape and method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", default=["1B", "8B"], choices=[*SHAPES, []], help="which bases")
    names = parser.parse_args().shapes
    if not torch.cuda.is_available() and names != ["tiny"]:
        sys.exit("no GPU is visible: run this where there is one, or try it with: train_gpu.py tiny")
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, prepare(Path(folder), SHAPES[name]))


def accelerator() -> Accelerator:
    """What there is."""
    return Accelerator.GPU if torch.cuda.is_available() else Accelerator.CPU


def prepare(folder: Path, shape: Shape) -> TrainingData:
    """A base with the example's tokenizer and random weights, and rows of one length."""
    make_base(folder / "base", shape)
    found = inspect(InspectConfig(base_folder=str(folder / "base"), source="pvc://models/base", output_folder="unused"))
    rows = int(STEPS * MICRO_BATCH / (1 - HELD_OUT)) + MICRO_BATCH
    chance = random.Random(7)  # noqa: S311  not for secrets
    words = ["heart", "lung", "valve", "rhythm", "pulse", "ward", "clinic", "nurse", "doctor", "please", "tomorrow"]
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(rows):
            said = " ".join(chance.choices(words, k=2 * shape.tokens))  # what is too long is cut
            turns = [{"role": "user", "content": f"Question {number}?"}, {"role": "assistant", "content": said}]
            file.write(json.dumps({"messages": turns}) + "\n")
    report = check(
        CheckConfig(
            base=BaseLocation(folder=str(folder / "base"), fingerprint=found.fingerprint),
            dataset_file=str(folder / "rows.jsonl"),
            source="pvc://datasets/rows.jsonl",
            sequence_length=shape.tokens,
            validation_fraction=HELD_OUT,
            seed=7,
            output_folder=str(folder / "check"),
        )
    )
    (folder / "check" / RESULT_FILE).write_text(Result.success("done", report).model_dump_json(by_alias=True))
    return TrainingData(folder, found, report, shape.tokens)


def make_base(folder: Path, shape: Shape) -> None:
    """Weights of the real size; they score like noise."""
    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=8,
        vocab_size=shape.vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=shape.tied,
    )
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)  # type: ignore[arg-type]  # transformers' decorator
    model.save_pretrained(folder)
    for name in set(describing_files(EXAMPLE)) - {"config.json", WEIGHTS_INDEX}:
        shutil.copyfile(EXAMPLE / name, folder / name)


def measure(name: str, data: TrainingData) -> None:
    """LoRA and QLoRA on one base, and the assessment of what the last made."""
    four_bits = Quantization(type=Variant.NF4, double_quantization=True)
    for method in (LoraMethod(lora=LORA), QloraMethod(lora=LORA, quantization=four_bits)):
        attempt = Attempt(orders(data, method), data.folder / method.name, method=method.model_dump())
        attempt.train()
        summary = attempt.result().payload
        assert isinstance(summary, TrainingSummary)
        speed, peak = summary.tokens / summary.seconds, summary.peak_memory_bytes / GIB
        plain_speed, plain_peak = child(PLAIN, attempt.order.model_dump_json(by_alias=True), data.folder / "plain")
        wanted = f" (wanted: {QLORA_8B_GIB})" if (name, method.name) == ("8B", "QLoRA") else ""
        print(
            f"{name} {method.name}, {MICRO_BATCH} rows of {data.tokens} tokens: peak {peak:.2f} GiB{wanted}, "
            f"plain TRL {plain_peak / GIB:.2f} GiB; {speed:.0f} tokens/s, {speed / plain_speed:.2f} times plain TRL's"
        )
    order = assess_order(data, attempt.adapter)
    (peak,) = child(ASSESS, order.model_dump_json(by_alias=True))
    print(f"{name} assessed on {', '.join(order.variants)}: peak {peak / GIB:.2f} GiB")


def orders(data: TrainingData, method: LoraMethod | QloraMethod) -> Any:
    """As the tests' fixture: orders on the rows."""

    def order(_: int, *, output_folder: str, schedule: dict[str, float]) -> TrainConfig:
        return TrainConfig(
            base=data.location,
            data_folder=str(data.folder / "check"),
            train_digest=data.report.train_digest,
            output_folder=output_folder,
            method=method,
            schedule=schedule_of(data),
            accelerator=accelerator(),
        )

    return order


def schedule_of(data: TrainingData) -> Schedule:
    """One pass of one micro-batch a step."""
    return Schedule(
        epochs=1,
        learning_rate=1e-4,
        batch_size=MICRO_BATCH,
        micro_batch_size=MICRO_BATCH,
        sequence_length=data.tokens,
        seed=7,
    )


def assess_order(data: TrainingData, candidate: Path) -> AssessConfig:
    """On every variant that bases have unless they say otherwise."""
    tokenizer = data.base.tokenizer
    return AssessConfig(
        run="bench",
        line="bench",
        base=data.location,
        base_reference=BaseReference(
            name="base", digest=data.base.digest, chat_template_digest=tokenizer.chat_template_digest
        ),
        data_folder=str(data.folder / "check"),
        heldout_digest=data.report.heldout_digest,
        heldout_tokens_digest=data.report.heldout_tokens_digest,
        candidate_folder=str(candidate),
        line_folder=str(data.folder / "line"),
        output_folder=str(data.folder / "assess"),
        variants=[Variant.NONE, Variant.INT8, Variant.NF4],
        lineage=Lineage(
            job="bench",
            job_uid="bench",
            dataset_source="pvc://datasets/rows.jsonl",
            dataset_digest=data.report.dataset_digest,
            train_rows=data.report.train_rows,
            heldout_rows=data.report.heldout_rows,
            method=Method.QLORA,
            lora=LORA,
            quantization=Quantization(type=Variant.NF4, double_quantization=True),
            schedule=schedule_of(data),
            packages={},
        ),
        accelerator=accelerator(),
    )


def child(script: str, *arguments: object) -> list[float]:
    """What a script of its own process found: memory that another has had does not count."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    quiet = {**os.environ, "TRANSFORMERS_VERBOSITY": "error"}
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=quiet).stdout
    return [float(number) for number in output.rpartition("FOUND ")[2].split()]


if __name__ == "__main__":
    main()
