"""Real adapters with probes as the trainer records them: `python -m support.record_artifacts FOLDER BASE_DIGEST`.

Runs in the trainer's environment. Adapters are random, strong enough to change answers; cardiology-v2 is cardiology-v1
trained "a little further". Each gets a folder with its two files and probes.json.
"""

import json
import os
import sys
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error")

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.digests import of_files, sha256_file
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_FILES
from wardrobe_contracts.probes import PROBES_FILE, ProbeScores
from wardrobe_trainer import probes
from wardrobe_trainer.loading import load_base
from wardrobe_trainer.tokens import load_chat

TANTANILA = Path(__file__).parents[2] / "examples" / "tantanila"
ADAPTERS = {"cardiology-v1": (1, 0.0), "cardiology-v2": (1, 0.015), "paediatrics-v1": (2, 0.0)}
"""Seed, and the standard deviation of what is added to it."""
PROMPTS = 4


def main() -> None:
    """Write them all."""
    folder, base_digest = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    chat = load_chat(TANTANILA / "model")
    lines = (TANTANILA / "data" / "cardiology.jsonl").read_text().splitlines()[:PROMPTS]
    prompts = [chat.render(json.loads(line)["messages"][:-1], prompt=True) for line in lines]
    for name, (seed, added) in ADAPTERS.items():
        write(folder / name, seed, added)
        drafts: list[probes.Draft] = []
        scores: dict[Variant, list[ProbeScores]] = {}
        for variant in Variant:
            base = load_base(TANTANILA / "model", variant, Accelerator.CPU)
            model = PeftModel.from_pretrained(base, folder / name).eval()
            drafts = drafts or probes.draft(chat, model, prompts)
            scores[variant] = probes.score(model, drafts)
        digest = of_files({file: sha256_file(folder / name / file) for file in ADAPTER_FILES})
        made = probes.assemble(drafts, scores, adapter=digest, base=base_digest, seed=seed)
        (folder / name / PROBES_FILE).write_text(made.model_dump_json(by_alias=True))


def write(folder: Path, seed: int, added: float) -> None:
    """A random adapter."""
    torch.manual_seed(seed)
    base = load_base(TANTANILA / "model", Variant.NONE, Accelerator.CPU)
    config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
    model = get_peft_model(base, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.04)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data += added * torch.randn_like(parameter)
    model.save_pretrained(str(folder))
    path = folder / ADAPTER_CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "base"}))


if __name__ == "__main__":
    main()
