"""Training of one adapter by TRL and PEFT on the frozen base: what a rank does."""

import importlib.metadata
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from transformers import set_seed

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
    TrainConfig,
    TrainingSummary,
)
from wardrobe_models.chat import Chat

from . import accelerators, checkpoints, moments, progress
from .adapter_files import validate
from .batches import Plan
from .console import say
from .dataset import FIELD, read_rows
from .files import sync_folder, sync_tree
from .launcher import UNFINISHED_FOLDER
from .loading import load_base
from .peers import Place, of_first, one_after_another, together
from .problems import TaskError, bad_data
from .reporting import Reporter
from .saving import Saving
from .tokens import encode, load_chat
from .trainer import Example, MicroBatches, make_trainer, trainer_settings

ALONE = Place()
RETRY_SECONDS = 10.0
TRIES = 8640
"""Of writing the adapter: for a day."""
PACKAGES = ("accelerate", "bitsandbytes", "deepspeed", "peft", "torch", "transformers", "trl")


def train(config: TrainConfig, scratch: Path, place: Place = ALONE) -> TrainingSummary:
    """Train on the checked rows and leave the adapter in `<output_folder>/adapter`. Raises TaskError.

    `scratch` takes the progress file and what the trainer insists on writing. Every process does the same, and the
    first says and writes what comes of it.
    """
    require_data(config)
    accelerators.take(config, place.local_rank, variant_of(config))
    with together(config, place):
        try:
            return _train(config, scratch, place)
        except torch.OutOfMemoryError as error:  # the GPU's; the container's memory ends in a SIGKILL
            total = torch.cuda.get_device_properties(place.local_rank).total_memory
            raise accelerators.out_of_memory(config, torch.cuda.max_memory_allocated(), total) from error


def _train(config: TrainConfig, scratch: Path, place: Place) -> TrainingSummary:
    set_seed(config.schedule.seed)
    chat = load_chat(Path(config.base.folder))
    examples = load_examples(config, chat)
    plan = Plan.of(config, [len(row["input_ids"]) for row in examples])
    # Weights are partitioned while they are loaded where these settings are there before; bitsandbytes cannot be
    early = trainer_settings(config, plan, scratch) if isinstance(config.method, LoraMethod) else None
    with one_after_another(scratch.parent, wanted=early is None and config.processes.per_node > 1):
        model = prepare_model(config)
    begun = goes_on_from(config, place)
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    if place.first:
        say(f"{len(examples)} rows, {trainable:,} trainable parameters, {torch.get_num_threads()} threads")
    reporter = Reporter(scratch, plan.steps_per_epoch, begun.manifest if begun else None, speaks=place.first)
    saving = Saving(config, place, reporter, begun)
    settings = early or trainer_settings(config, plan, scratch)
    batches = MicroBatches(plan, place.rank, done=max(0, saving.resumed - 1))  # the last that was done comes again
    trainer = make_trainer(settings, chat, model, examples, batches)
    if begun:
        moments.put_weights(model, begun.tensors)
    begun = None  # its tensors go once they are restored
    trainer.add_callback(reporter)
    trainer.add_callback(saving)
    started = time.monotonic()
    trainer.train()
    saving.require_finished()
    seconds = time.monotonic() - started
    progress.write(scratch, reporter.now("Saving"))
    weights = moments.trainable_weights(model)
    if place.first:
        save_at_last(lambda: save(model, weights, Path(config.output_folder), config.method.lora.rank), reporter)
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
    )


def goes_on_from(config: TrainConfig, place: Place) -> checkpoints.Checkpoint | None:
    """The newest checkpoint: the first process finds it, the others read what it found."""
    own = checkpoints.newest(config) if place.first and config.checkpoints else None
    folder = of_first(own.folder if own else None)
    return own or (checkpoints.read(config, folder) if folder else None)


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


def load_examples(config: TrainConfig, chat: Chat) -> list[Example]:
    """Rows as tokens and labels, truncated as the check counted them."""
    path = Path(config.data_folder) / TRAIN_FILE
    length = config.schedule.sequence_length
    encoded = [encode(chat, row.messages).truncated(length) for row in read_rows(path, str(path))]
    return [{"input_ids": row.ids, "labels": row.labels} for row in encoded]


def variant_of(config: TrainConfig) -> Variant:
    """How the method holds the base."""
    return Variant.NF4 if isinstance(config.method, QloraMethod) else Variant.NONE


def prepare_model(config: TrainConfig) -> PeftModel:
    """The frozen base with a fresh adapter. Raises TaskError where no module has a target's name."""
    lora, variant = config.method.lora, variant_of(config)
    double = isinstance(config.method, QloraMethod) and config.method.quantization.double_quantization
    say(f"loading the base ({variant})")
    base = load_base(Path(config.base.folder), variant, config.accelerator, double_quantization=double)
    try:
        model = get_peft_model(base, lora_config(lora), autocast_adapter_dtype=config.deepspeed is None)
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


def save_at_last(write: Callable[[], None], reporter: Reporter) -> None:
    """Write what was trained, again and again where the volume is full or away: training took hours.

    A SIGTERM ends it; the next attempt has the last checkpoint. Raises OSError or SafetensorError after a day.
    """
    for _ in range(TRIES):
        try:
            return write()
        except (OSError, SafetensorError) as error:  # the second is how safetensors tells of a full disk
            say(f"the adapter could not be written, and is tried again: {error}")
            reporter.not_saved(str(error), stage="Saving")
        time.sleep(RETRY_SECONDS)
    return write()


def save(model: PeftModel, weights: dict[str, torch.Tensor], output: Path, rank: int) -> None:
    """Write the adapter, read it again, and only then give it its name. Raises TaskError or OSError."""
    unfinished, final = output / UNFINISHED_FOLDER, output / ADAPTER_FOLDER
    for left in (unfinished, final):  # by a try that came to no end
        shutil.rmtree(left, ignore_errors=True)
    model.save_pretrained(str(unfinished), state_dict=weights, safe_serialization=True, save_embedding_layers=False)
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
