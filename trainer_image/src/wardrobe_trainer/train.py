"""Training of one adapter by TRL and PEFT on the frozen base: what a rank does."""

import importlib.metadata
import resource
import time
from math import ceil
from pathlib import Path

import torch
from datasets import Dataset  # type: ignore[import-untyped]  # datasets ships no types
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PrinterCallback, ProgressCallback, set_seed
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.check import TRAIN_FILE
from wardrobe_contracts.digests import sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.training import (
    ADAPTER_FOLDER,
    Lora,
    LoraMethod,
    QloraMethod,
    Schedule,
    TrainConfig,
    TrainingSummary,
)
from wardrobe_models.chat import Chat

from . import progress
from .adapter_files import validate
from .console import say
from .dataset import FIELD, read_rows
from .files import sync_folder, sync_tree
from .launcher import UNFINISHED_FOLDER
from .loading import load_base
from .problems import TaskError, bad_data
from .reporting import Reporter
from .tokens import encode, load_chat

WARMUP_SHARE = 0.05
"""Of all steps. Adam's first steps are the largest relative to what it knows of the gradients."""
GRADIENT_NORM = 1.0
PACKAGES = ("accelerate", "bitsandbytes", "peft", "torch", "transformers", "trl")


def train(config: TrainConfig, scratch: Path) -> TrainingSummary:
    """Train on the checked rows and leave the adapter in `<output_folder>/adapter`. Raises TaskError.

    `scratch` takes the progress file and what the trainer insists on writing.
    """
    require_data(config)
    set_seed(config.schedule.seed)
    chat = load_chat(Path(config.base.folder))
    examples = load_examples(config, chat)
    model = prepare_model(config)
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    say(f"{len(examples)} rows, {trainable:,} trainable parameters, {torch.get_num_threads()} threads")
    reporter = Reporter(scratch)
    trainer = make_trainer(config, chat, model, examples, scratch)
    trainer.add_callback(reporter)
    started = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    progress.write(scratch, reporter.now("Saving"))
    save(model, Path(config.output_folder), config.method.lora.rank)
    return TrainingSummary(
        steps=trainer.state.global_step,
        tokens=reporter.tokens,
        seconds=round(seconds, 2),
        first_loss=reporter.losses[0],
        last_loss=reporter.losses[-1],
        trainable_parameters=trainable,
        peak_memory_bytes=peak_memory(config.accelerator),
        packages={name: importlib.metadata.version(name) for name in PACKAGES},
    )


def require_data(config: TrainConfig) -> None:
    """What is trained on must be what was checked. Raises TaskError."""
    path = Path(config.data_folder) / TRAIN_FILE
    try:
        found = sha256_file(path)
    except FileNotFoundError:
        found = "missing"
    if found != config.train_digest:
        raise bad_data(
            Reason.DATA_CHANGED,
            field=FIELD,
            value=str(path),
            rule=f"the checked training rows are {found[:19]}, not {config.train_digest[:19]} as recorded by the check",
            next_step="Leave the run's folder alone; make a new FineTuneJob to check and train again",
        )


def load_examples(config: TrainConfig, chat: Chat) -> Dataset:
    """Rows as tokens and labels, truncated as the check counted them."""
    path = Path(config.data_folder) / TRAIN_FILE
    length = config.schedule.sequence_length
    encoded = [encode(chat, row.messages).truncated(length) for row in read_rows(path, str(path))]
    return Dataset.from_list([{"input_ids": row.ids, "labels": row.labels} for row in encoded])


def prepare_model(config: TrainConfig) -> PeftModel:
    """The frozen base with a fresh adapter in float32. Raises TaskError where no module has a target's name."""
    lora = config.method.lora
    match config.method:
        case LoraMethod():
            variant, double = Variant.NONE, False
        case QloraMethod(quantization=quantization):
            variant, double = Variant.NF4, quantization.double_quantization
    say(f"loading the base ({variant})")
    base = load_base(Path(config.base.folder), variant, config.accelerator, double_quantization=double)
    try:
        model = get_peft_model(base, lora_config(lora))
    except ValueError as error:
        raise bad_targets(lora, f"PEFT cannot adapt these modules of the base: {error}") from error
    if isinstance(model.get_output_embeddings(), BaseTunerLayer):
        raise bad_targets(lora, "the output layer is among them, which TRL would leave untrained")
    return model


def bad_targets(lora: Lora, rule: str) -> TaskError:
    """The target modules do not suit the base."""
    problem = Problem(
        field="spec.lora.targetModules",
        value=", ".join(lora.target_modules),
        rule=rule,
        next_step="Use all-linear, or names of linear layers within the base's blocks such as q_proj",
    )
    return TaskError(ExitCode.BAD_CONFIG, Reason.CONFIG_INVALID, problem)


def lora_config(lora: Lora) -> LoraConfig:
    """PEFT's form of the hyperparameters; the single word `all-linear` stands for every linear layer but the head."""
    targets = lora.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets[0] if targets == ["all-linear"] else targets,
    )


def make_trainer(config: TrainConfig, chat: Chat, model: PeftModel, examples: Dataset, scratch: Path) -> SFTTrainer:
    """A trainer that logs every step to its callbacks and nothing to the console."""
    tokenizer = chat.tokenizer
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding carries no label and is masked, so any token does
    trainer = SFTTrainer(
        model=model,
        args=trainer_settings(config, len(examples), scratch),
        train_dataset=examples,
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if config.accelerator is Accelerator.CPU:
        # TRL casts adapters of a quantized base to bfloat16, which on CPU is slower and less exact. B is still zero
        # and A random, so casting back loses nothing.
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return trainer


def total_steps(rows: int, schedule: Schedule) -> int:
    """Optimizer steps of the whole schedule."""
    return max(1, ceil(ceil(rows / schedule.batch_size) * schedule.epochs))


def trainer_settings(config: TrainConfig, rows: int, scratch: Path) -> SFTConfig:
    """Settings of TRL's trainer. The rows come tokenised and truncated, so it prepares nothing."""
    schedule, gpu = config.schedule, config.accelerator is Accelerator.GPU
    return SFTConfig(
        output_dir=str(scratch / "trainer"),
        num_train_epochs=schedule.epochs,
        per_device_train_batch_size=schedule.micro_batch_size,
        gradient_accumulation_steps=schedule.gradient_accumulation_steps,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=ceil(WARMUP_SHARE * total_steps(rows, schedule)),
        weight_decay=0.0,
        max_grad_norm=GRADIENT_NORM,
        optim="adamw_torch",
        seed=schedule.seed,
        data_seed=schedule.seed,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        activation_checkpointing=gpu,
        bf16=gpu,
        use_cpu=not gpu,
        dataloader_pin_memory=gpu,
        logging_steps=1,
        logging_nan_inf_filter=False,  # the filter would hide the first sign of a diverged run
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def save(model: PeftModel, output: Path, rank: int) -> None:
    """Write the adapter, read it again, and only then give it its name. Raises TaskError or OSError."""
    unfinished, final = output / UNFINISHED_FOLDER, output / ADAPTER_FOLDER
    model.save_pretrained(str(unfinished), safe_serialization=True, save_embedding_layers=False)
    facts = validate(unfinished, rank)
    sync_tree(unfinished)
    unfinished.rename(final)
    sync_folder(output)
    say(f"adapter saved: rank {facts.rank}, {facts.size_bytes:,} bytes, on {', '.join(facts.target_modules)}")


def peak_memory(accelerator: Accelerator) -> int:
    """Bytes: torch's own highest allocation on a GPU, else the process's highest resident size."""
    if accelerator is Accelerator.GPU:
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
