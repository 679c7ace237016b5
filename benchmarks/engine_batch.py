"""How fast the engine decodes 32 rows together, with 1, 8 and 32 adapters among them, relative to the base alone.

Run: HF_HUB_OFFLINE=1 .venv-engine/bin/python benchmarks/engine_batch.py [MODEL] [--quantization NF4] [--peft]
Every round measures all cases in turn, so that a busy machine slows all alike; the median over rounds is printed.
With --peft the same is done by PEFT's own mixed batch (`adapter_names`).
"""

import argparse
import copy
import functools
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import DynamicCache

from wardrobe_contracts.base import Variant
from wardrobe_engine import adapter_files
from wardrobe_engine.cache import Batch, Prefilled
from wardrobe_engine.loading import load
from wardrobe_engine.model import Model

ROWS = 32
PROMPT = 64
STEPS = 16
ROUNDS = 7
RANK = 16
ADAPTERS = (0, 1, 8, 32)
MODEL = Path(__file__).parents[1] / "examples/tantanila/model"

Measure = Callable[[], float]


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path, nargs="?", default=MODEL)
    parser.add_argument("--quantization", type=Variant, default=Variant.NONE)
    parser.add_argument("--peft", action="store_true")
    asked = parser.parse_args()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns about every product of INT8
    torch.set_num_threads(1)  # two threads on two busy cores wait for each other, which measures the neighbours
    with tempfile.TemporaryDirectory() as folder:
        cases = prepare(asked.model, asked.quantization, Path(folder), peft=asked.peft)
        report(measure(cases))


def prepare(model: Path, variant: Variant, folder: Path, *, peft: bool) -> dict[str, Measure]:
    """A function per case that decodes and says how many seconds it took."""
    base = load(model, variant)
    wrapped = make_adapters(copy.deepcopy(base.model), folder)
    engine = Model(base)
    names = (str(model),)
    slots = [engine.add(adapter_files.read(folder / f"a{index}", names, engine.features)) for index in range(ROWS)]
    cases: dict[str, Measure] = {}
    for count in ADAPTERS:
        cases[label("engine", count)] = functools.partial(decode, engine, rows(slots, count))
    for count in ADAPTERS[1:] if peft else ():
        cases[label("PEFT", count)] = functools.partial(decode_peft, wrapped, rows(range(ROWS), count))
    return cases


def label(who: str, count: int) -> str:
    """Name of a case."""
    return f"{who}, {count} adapters" if count else "base alone"


def rows(slots: "list[int] | range", count: int) -> list[int]:
    """The adapter of each row: `count` different ones in turn, or slot 0, the base."""
    return [slots[row % count] for row in range(ROWS)] if count else [0] * ROWS


def make_adapters(model: torch.nn.Module, folder: Path) -> PeftModel:
    """Write 32 adapters with random B, and give the model that has them all."""
    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = get_peft_model(model, config, adapter_name="a0")
    for index in range(1, ROWS):
        wrapped.add_adapter(f"a{index}", config)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    wrapped.save_pretrained(str(folder), selected_adapters=[f"a{index}" for index in range(ROWS)])
    return wrapped.eval()


@torch.inference_mode()
def decode(engine: Model, slots: list[int]) -> float:
    """Seconds of STEPS steps by the engine, prompts not counted."""
    batch = Batch(engine.device)
    newcomers = []
    for row, slot in enumerate(slots):
        _, cache = engine.prefill(prompt(row), slot, every_position=False)
        newcomers.append(Prefilled(cache, PROMPT, 7, slot))
    batch.join(newcomers)
    start = time.perf_counter()
    for _ in range(STEPS):
        batch.advance(engine.decode(batch).argmax(-1).tolist())
    return time.perf_counter() - start


@torch.inference_mode()
def decode_peft(model: PeftModel, adapters: list[int]) -> float:
    """The same by PEFT."""
    names = [f"a{index}" for index in adapters]
    cache = DynamicCache()
    prompts = torch.tensor([prompt(row) for row in range(ROWS)], device=model.device)
    model(input_ids=prompts, past_key_values=cache, adapter_names=names)
    tokens = torch.full((ROWS, 1), 7, device=model.device)
    start = time.perf_counter()
    for _ in range(STEPS):
        tokens = model(input_ids=tokens, past_key_values=cache, adapter_names=names).logits.argmax(-1)
        tokens.tolist()
    return time.perf_counter() - start


def prompt(row: int) -> list[int]:
    """Any tokens."""
    return [(13 * row + 31 * position) % 1000 + 10 for position in range(PROMPT)]


def measure(cases: dict[str, Measure]) -> dict[str, list[float]]:
    """Seconds per case and round; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(ROUNDS + 1):
        for name, case in cases.items():
            elapsed = case()
            if turn:
                seconds[name].append(elapsed)
    return seconds


def report(seconds: dict[str, list[float]]) -> None:
    """Tokens per second, and the median over rounds of the ratio to the base in the same round."""
    base = seconds[label("engine", 0)]
    print(f"{ROWS} rows, rank {RANK}, {STEPS} steps after {PROMPT} tokens")
    for name, values in seconds.items():
        ratio = statistics.median(alone / one for alone, one in zip(base, values, strict=True))
        print(f"{name:22} {ROWS * STEPS / statistics.median(values):8.0f} tokens/s  {ratio:5.2f} of the base")


if __name__ == "__main__":
    main()
