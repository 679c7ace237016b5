"""Methods LoRA and QLoRA: an adapter beside the frozen base."""

from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.training import (
    ADAPTER_FOLDER,
    AdapterMethod,
    Initialization,
    Lora,
    Scaling,
    TrainConfig,
)

from .adapter_files import validate
from .console import say
from .files import named_when_whole
from .launcher import UNFINISHED_FOLDER
from .loading import load_base
from .moments import Tensors
from .problems import TaskError


def prepare(config: TrainConfig, method: AdapterMethod) -> PeftModel:
    """The frozen base with a fresh adapter. Raises TaskError where no module has a target's name."""
    lora = method.lora
    double = method.quantization is not None and method.quantization.double_quantization
    say(f"loading the base ({method.variant})")
    base = load_base(Path(config.base.folder), method.variant, config.accelerator, double_quantization=double)
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
        use_rslora=lora.scaling is Scaling.RANK_STABILIZED,
        init_lora_weights="gaussian" if lora.initialization is Initialization.GAUSSIAN else True,
    )


def save(model: PreTrainedModel | PeftModel, weights: Tensors, output: Path, method: AdapterMethod) -> None:
    """Write the adapter, read it again, and only then give it its name. Raises TaskError or OSError."""
    unfinished = output / UNFINISHED_FOLDER
    with named_when_whole(unfinished, output / ADAPTER_FOLDER):
        model.save_pretrained(str(unfinished), state_dict=weights, safe_serialization=True, save_embedding_layers=False)
        facts = validate(unfinished, method.lora.rank)
    say(f"adapter saved: rank {facts.rank}, {facts.size_bytes:,} bytes, on {', '.join(facts.target_modules)}")
