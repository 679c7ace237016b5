"""Real adapters with probes as the trainer records them: `python -m support.record_artifacts FOLDER BASE_DIGEST`, and
`--forms` or variants where not all are to be recorded.

Runs in the trainer's environment. Adapters are random, strong enough to change answers; cardiology-v2 is cardiology-v1
trained "a little further". Each gets a folder with its two files and probes.json. With `--forms`, adapters of
different ranks, on different modules and layers.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error")

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.digests import of_files, sha256_file
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_FILES
from wardrobe_contracts.probes import PROBES_FILE, ProbeScores
from wardrobe_trainer import drafts, probes
from wardrobe_trainer.loading import load_base
from wardrobe_trainer.tokens import load_chat

TANTANILA = Path(__file__).parents[2] / "examples" / "tantanila"


@dataclass(frozen=True)
class Recipe:
    """How an adapter is made."""

    seed: int
    added: float = 0.0
    """Standard deviation of what is added to what the seed gives."""
    rank: int = 8
    modules: str | tuple[str, ...] = "all-linear"
    layers: tuple[int, ...] | None = None
    rslora: bool = False
    strength: float = 0.04
    """Standard deviation of B."""


ADAPTERS = {"cardiology-v1": Recipe(1), "cardiology-v2": Recipe(1, added=0.015), "paediatrics-v1": Recipe(2)}
FORMS = {
    "eight-v1": Recipe(3),
    "four-v1": Recipe(4, rank=4, modules=("q_proj", "v_proj"), strength=0.3),
    "root-v1": Recipe(5, rank=24, modules=("q_proj", "k_proj", "v_proj", "o_proj"), rslora=True),
    "half-v1": Recipe(6, rank=12, modules=("q_proj", "down_proj"), layers=(0, 1, 2), strength=0.15),
}
PROMPTS = 4
PROMPTS_OF_FORMS = 6
"""What these write is rarely read as it was made: there must be another prompt."""


def main() -> None:
    """Write them all."""
    folder, base_digest, more = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    adapters, prompts = (FORMS, PROMPTS_OF_FORMS) if "--forms" in more else (ADAPTERS, PROMPTS)
    variants = [Variant(name) for name in more if name != "--forms"] or list(Variant)
    torch.set_num_threads(1)
    chat = load_chat(TANTANILA / "model", "")
    lines = (TANTANILA / "data" / "cardiology.jsonl").read_text().splitlines()[:prompts]
    questions = [probes.ask(chat, json.loads(line)["messages"][:-1]) for line in lines]
    for name, recipe in adapters.items():
        write(folder / name, recipe)
        drafted: list[drafts.Draft] = []
        scores: dict[Variant, list[ProbeScores]] = {}
        for variant in variants:
            base = load_base(TANTANILA / "model", variant, Accelerator.CPU)
            model = PeftModel.from_pretrained(base, folder / name).eval()
            drafted = drafted or probes.draft(chat, model, questions)
            scores[variant] = probes.score(model, drafted)
        digest = of_files({file: sha256_file(folder / name / file) for file in ADAPTER_FILES})
        made = drafts.assemble(drafted, scores, adapter=digest, base=base_digest, seed=recipe.seed)
        (folder / name / PROBES_FILE).write_text(made.model_dump_json(by_alias=True))


def write(folder: Path, recipe: Recipe) -> None:
    """A random adapter."""
    torch.manual_seed(recipe.seed)
    base = load_base(TANTANILA / "model", Variant.NONE, Accelerator.CPU)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=16,
        target_modules=recipe.modules if isinstance(recipe.modules, str) else list(recipe.modules),
        layers_to_transform=list(recipe.layers) if recipe.layers else None,
        use_rslora=recipe.rslora,
    )
    model = get_peft_model(base, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=recipe.strength)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data += recipe.added * torch.randn_like(parameter)
    model.save_pretrained(str(folder))
    path = folder / ADAPTER_CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "base"}))


if __name__ == "__main__":
    main()
