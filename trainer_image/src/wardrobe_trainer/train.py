"""Training by TRL, of whatever the method trains: what a rank does."""

import importlib.metadata
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import PreTrainedModel, set_seed

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.check import TOKENS_FILE, TRAIN_FILE
from wardrobe_contracts.digests import sha256_file
from wardrobe_contracts.exits import Reason
from wardrobe_contracts.training import FullMethod, TrainConfig, TrainingSummary
from wardrobe_models.chat import Chat

from . import accelerators, checkpoints, full, lora, moments, progress
from .batches import Plan
from .console import say
from .dataset import FIELD
from .peers import Place, of_first, one_after_another, together
from .problems import bad_data
from .reading import read_rows
from .reporting import Reporter
from .saving import Saving
from .token_file import Example, TokenFile
from .tokens import examples, load_chat
from .tracking.curve_writer import CurveWriter
from .trainer import MicroBatches, make_trainer, trainer_settings

ALONE = Place()
RETRY_SECONDS = 10.0
TRIES = 8640
"""Of writing what was trained: for a day."""
PACKAGES = ("accelerate", "bitsandbytes", "deepspeed", "peft", "torch", "transformers", "trl")


def train(config: TrainConfig, scratch: Path, place: Place = ALONE) -> TrainingSummary:
    """Train on the checked rows and leave what comes of it in a folder of `output_folder`. Raises TaskError.

    `scratch` takes the progress file and what the trainer insists on writing. Every process does the same, and the
    first says and writes what comes of it.
    """
    require_data(config)
    accelerators.take(config, place.local_rank, config.method.variant)
    with together(config, place):
        try:
            return _train(config, scratch, place)
        except RuntimeError as error:
            if config.accelerator is Accelerator.CPU or not accelerators.lacks_memory(error):
                raise
            total = torch.cuda.get_device_properties(place.local_rank).total_memory
            raise accelerators.out_of_memory(config, torch.cuda.max_memory_allocated(), total) from error


def _train(config: TrainConfig, scratch: Path, place: Place) -> TrainingSummary:
    set_seed(config.schedule.seed)
    chat = load_chat(Path(config.base.folder), config.base.chat_prelude)
    rows = load_examples(config, chat)
    plan = Plan.of(config, lengths_of(rows))
    # Weights are partitioned while they are loaded where these settings are there before; bitsandbytes cannot be
    early = trainer_settings(config, plan, scratch) if config.method.variant is Variant.NONE else None
    with one_after_another(scratch.parent, wanted=early is None and config.processes.per_node > 1):
        model = prepare_model(config)
    begun = goes_on_from(config, place)
    trainable = moments.count(model)
    if place.first:
        say(f"{len(rows)} examples, {trainable:,} trainable parameters, {torch.get_num_threads()} threads")
    reporter = Reporter(scratch, plan.steps_per_epoch, begun.manifest if begun else None, speaks=place.first)
    saving = Saving(config, place, reporter, begun)
    settings = early or trainer_settings(config, plan, scratch)
    batches = MicroBatches(plan, place.rank, done=max(0, saving.resumed - 1))  # the last that was done comes again
    trainer = make_trainer(settings, chat, model, rows, batches)
    if begun:
        moments.put_weights(model, begun.stored)
    begun = None  # its tensors go once they are restored
    trainer.add_callback(reporter)
    if config.tracking and place.first:
        trainer.add_callback(CurveWriter(scratch, reporter, lambda: peak_memory(config.accelerator)))
    trainer.add_callback(saving)
    started = time.monotonic()
    trainer.train()
    saving.require_finished()
    seconds = time.monotonic() - started
    progress.write(scratch, reporter.now("Saving"))
    weights, used = moments.trainable_weights(model, keep=place.first), config.schedule.optimizer.on(config.accelerator)
    if place.first:
        save_at_last(lambda: save(config, model, weights), reporter)
    return TrainingSummary(
        steps=trainer.state.global_step,
        tokens=reporter.tokens,
        seconds=round(seconds, 2),
        first_loss=reporter.losses[0],
        last_loss=reporter.losses[-1],
        trainable_parameters=trainable,
        peak_memory_bytes=peak_memory(config.accelerator),
        packages={name: importlib.metadata.version(name) for name in PACKAGES},
        reached=reporter.reached,
        optimizer=used,
        instead_of=None if used is config.schedule.optimizer else config.schedule.optimizer,
    )


def goes_on_from(config: TrainConfig, place: Place) -> checkpoints.Checkpoint | None:
    """The newest checkpoint: the first process finds it, the others read what it found."""
    own = checkpoints.newest(config) if place.first and config.checkpoints else None
    folder = of_first(own.folder if own else None)
    return own or (checkpoints.read(config, folder, known_whole=True) if folder else None)


def require_data(config: TrainConfig) -> None:
    """What is trained on must be what was checked. Raises TaskError."""
    path, wanted = Path(config.data_folder) / TRAIN_FILE, config.train_digest
    if config.tokens_digest is not None:
        path, wanted = Path(config.data_folder) / TOKENS_FILE, config.tokens_digest
    try:
        found = sha256_file(path)
    except FileNotFoundError:
        found = "missing"
    if found != wanted:
        raise bad_data(
            Reason.DATA_CHANGED,
            field=FIELD,
            value=str(path),
            rule=f"the checked training rows are {found[:19]}, not {wanted[:19]} as recorded by the check",
            next_step="Leave the run's folder alone; make a new FineTuneJob to check and train again",
        )


def load_examples(config: TrainConfig, chat: Chat) -> Sequence[Example]:
    """Rows as tokens and labels, truncated as the check counted them: as it wrote them, if it did."""
    if config.tokens_digest is not None:
        return TokenFile(Path(config.data_folder) / TOKENS_FILE)
    path = Path(config.data_folder) / TRAIN_FILE
    length = config.schedule.sequence_length
    encoded = [one for row in read_rows(path, str(path)) for one in examples(chat, row.messages, length)]
    return [{"input_ids": one.ids, "labels": one.labels} for one in encoded]


def lengths_of(examples: Sequence[Example]) -> Sequence[int]:
    """Tokens of each row."""
    return examples.lengths if isinstance(examples, TokenFile) else [len(row["input_ids"]) for row in examples]


def prepare_model(config: TrainConfig) -> PreTrainedModel | PeftModel:
    """With weights to be trained. Raises TaskError."""
    method = config.method
    return full.prepare(config) if isinstance(method, FullMethod) else lora.prepare(config, method)


def save(config: TrainConfig, model: PreTrainedModel | PeftModel, weights: moments.Tensors) -> None:
    """What was trained, by its method. Raises TaskError or OSError."""
    output = Path(config.output_folder)
    if isinstance(config.method, FullMethod):
        full.save(model, weights, output, Path(config.base.folder))
    else:
        lora.save(model, weights, output, config.method)


def save_at_last(write: Callable[[], None], reporter: Reporter, retry_seconds: float = RETRY_SECONDS) -> None:
    """Write what was trained, again and again where the volume is full or away: training took hours.

    A SIGTERM ends it; the next attempt has the last checkpoint. Raises OSError or SafetensorError after a day.
    """
    for _ in range(TRIES):
        try:
            return write()
        except (OSError, SafetensorError) as error:  # the second is how safetensors tells of a full disk
            say(f"what was trained could not be written, and is tried again: {error}")
            reporter.not_saved(str(error), stage="Saving")
        time.sleep(retry_seconds)
    return write()


def peak_memory(accelerator: Accelerator) -> int:
    """Bytes: torch's own highest allocation on a GPU, else the process's highest resident size."""
    if accelerator is Accelerator.GPU:
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
