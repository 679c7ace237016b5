"""TRL's trainer as we use it: our rows in our order, alone or over several processes with DeepSpeed."""

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]  # datasets ships no types
from accelerate import PartialState  # type: ignore[import-untyped]  # accelerate ships no types
from peft import PeftModel
from torch import distributed
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedModel, PrinterCallback, ProgressCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from wardrobe_contracts.base import Accelerator
from wardrobe_contracts.deepspeed import GRADIENT_NORM
from wardrobe_contracts.training import Optimizer, TrainConfig
from wardrobe_models.chat import Chat

from .batches import NO_ROW, Plan
from .token_file import Example
from .tokens import IGNORED

WARMUP_SHARE = 0.05
"""Of all steps. Adam's first steps are the largest relative to what it knows of the gradients."""

OPTIMIZERS = {
    Optimizer.ADAMW: "adamw_torch",
    Optimizer.ADAMW_8BIT: "adamw_8bit",
    Optimizer.PAGED_ADAMW: "paged_adamw_32bit",
    Optimizer.PAGED_ADAMW_8BIT: "paged_adamw_8bit",
}
"""In transformers' words."""


class Rows(Dataset[Example]):
    """The rows by their index, and under NO_ROW one token without a label."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    def __getitem__(self, index: int) -> Example:
        if index == NO_ROW:
            return {"input_ids": self._examples[0]["input_ids"][:1], "labels": [IGNORED]}
        return self._examples[index]

    def __len__(self) -> int:
        return len(self._examples)


class MicroBatches:
    """What a rank still passes through the model, as a data loader asks for it."""

    def __init__(self, plan: Plan, rank: int, done: int = 0) -> None:
        self._plan, self._rank = plan, rank
        self.done = done

    def __iter__(self) -> Iterator[list[int]]:
        return self._plan.of_rank(self._rank, self.done)

    def __len__(self) -> int:
        return (self._plan.steps - self.done) * self._plan.accumulation


class PlannedTrainer(SFTTrainer):
    """Takes its micro-batches from a plan: transformers' own samplers give some rows twice at an epoch's end."""

    rows: DataLoader[Any]
    done = 0
    """Steps that are not made again."""

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        """transformers 5.23 counts from here; it knows of no checkpoint."""
        self.state.global_step = self.done
        return super()._prepare_for_training(*args, **kwargs)  # type: ignore[no-untyped-call]  # transformers

    def get_train_dataloader(self) -> DataLoader[Any]:
        """As planned; nothing is shared out again."""
        return self.rows


def make_trainer(
    settings: SFTConfig,
    chat: Chat,
    model: PreTrainedModel | PeftModel,
    examples: Sequence[Example],
    batches: MicroBatches,
) -> PlannedTrainer:
    """A trainer that logs every step to its callbacks and nothing to the console."""
    tokenizer = chat.tokenizer
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding carries no label and is masked, so any token does
    rows = Rows(examples)
    form = datasets.Dataset.from_list([examples[0]])  # TRL looks at its columns, and gets its rows from `rows`
    trainer = PlannedTrainer(model=model, args=settings, train_dataset=form, processing_class=tokenizer)
    trainer.rows = DataLoader(
        rows,
        batch_sampler=batches,
        collate_fn=trainer.data_collator,
        pin_memory=settings.dataloader_pin_memory,
    )
    trainer.done = batches.done
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    # TRL makes adapters of a quantized base bfloat16, in which Adam loses steps that are small against a weight. B is
    # still zero and A random, so making them float32 again loses nothing. On GPUs DeepSpeed trains float32 copies.
    if isinstance(model, PeftModel):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return trainer


def trainer_settings(config: TrainConfig, plan: Plan, scratch: Path) -> SFTConfig:
    """Settings of TRL's trainer. The rows come tokenised and truncated, so it prepares nothing."""
    schedule, gpu = config.schedule, config.accelerator is Accelerator.GPU
    checkpointing = gpu if config.activation_checkpointing is None else config.activation_checkpointing
    settings = SFTConfig(
        output_dir=str(scratch / "trainer"),
        max_steps=plan.steps,
        per_device_train_batch_size=schedule.micro_batch_size,
        gradient_accumulation_steps=plan.accumulation,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=ceil(WARMUP_SHARE * plan.steps),
        weight_decay=0.0,
        max_grad_norm=GRADIENT_NORM,
        optim=OPTIMIZERS[schedule.optimizer.on(config.accelerator)],
        seed=schedule.seed,
        data_seed=schedule.seed,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        activation_checkpointing=checkpointing,
        bf16=gpu,
        # with DeepSpeed, transformers would otherwise leave it out and train in parallel without it
        use_cpu=not gpu and config.deepspeed is None,
        deepspeed=config.deepspeed,
        dataloader_pin_memory=gpu,
        logging_steps=1,
        logging_nan_inf_filter=False,  # the filter would hide the first sign of a diverged run
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    if config.deepspeed is not None and not gpu:
        _count_processes()
    return settings


def _count_processes() -> None:
    """accelerate 1.15 leaves one process where DeepSpeed computes on CPUs: it knows no backend for them."""
    state: Any = PartialState()
    state.num_processes, state.process_index = distributed.get_world_size(), distributed.get_rank()
    state.local_process_index = state.process_index
