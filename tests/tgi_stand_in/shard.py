"""The shard: reads requests as lines of JSON, and writes tokens so. Ends where its reader does."""

import json
import queue
import sys
import threading
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from wardrobe_contracts.base import Variant
from wardrobe_engine.loading import load
from wardrobe_engine.model import Model

from . import lora
from .decoding import Decoder
from .facts import NO_ADAPTERS_ON, QUANTIZED, SKIPPED_TOKENIZER, Fault
from .lora import CannotStartError
from .settings import NO_ADAPTERS, Settings, read


def main() -> None:
    """Serve until the router is gone."""
    settings = read()
    torch.set_num_threads(1)
    try:
        decoder = _decoder(settings)
    except CannotStartError as error:
        sys.exit(str(error))
    waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_receive, args=(waiting,), daemon=True).start()
    say({"ready": True})
    with torch.inference_mode():
        while _take(waiting, decoder, settings.crash_asked):
            decoder.step()


def say(message: dict[str, Any]) -> None:
    """To the router."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _receive(waiting: "queue.Queue[dict[str, Any] | None]") -> None:
    for line in sys.stdin:
        waiting.put(json.loads(line))
    waiting.put(None)


def _take(waiting: "queue.Queue[dict[str, Any] | None]", decoder: Decoder, crash: str) -> bool:
    """Requests and cancellations, waiting where there is nothing else to do; False at the end."""
    while not decoder.rows or not waiting.empty():
        message = waiting.get()
        if message is None:
            return False
        if "cancel" in message:
            decoder.rows = [row for row in decoder.rows if row.asked["id"] != message["cancel"]]
        elif crash and crash in message["adapter"]:
            raise RuntimeError(f"CUDA error: an illegal memory access was encountered at {message['adapter']}")
        else:
            decoder.start(message)
    return True


def _decoder(settings: Settings) -> Decoder:
    listed = [] if settings.lora_adapters == NO_ADAPTERS else lora.parse(settings.lora_adapters)
    _require_readable(settings.model)
    if listed and settings.quantize in NO_ADAPTERS_ON:
        raise CannotStartError("AttributeError: 'Linear' object has no attribute 'weight'")
    if settings.crash and settings.crash in settings.lora_adapters:
        raise CannotStartError(f"RuntimeError: {settings.crash} cannot be read")
    model = Model(load(settings.model, Variant(QUANTIZED[settings.quantize])))
    tokenizer = Tokenizer.from_file(str(settings.model / "tokenizer.json"))
    decoder = Decoder(
        model,
        tokenizer,
        _ends(settings.model),
        dtype=settings.dtype,
        graphs=settings.cuda_graphs,
        prefix_block=settings.prefix_block,
        say=say,
    )
    if Fault.NO_ADAPTERS not in settings.faults:
        for name, folder in listed:
            share = 0.5 if Fault.HALF_ADAPTERS in settings.faults else 1.0
            decoder.add_adapter(lora.read(name, folder, dict(model.features)), share)
    return decoder


def _require_readable(model: Path) -> None:
    """transformers 4.51 knows no tokenizer class of transformers 5 (seen)."""
    config = model / "tokenizer_config.json"
    if config.is_file() and json.loads(config.read_text()).get("tokenizer_class") == SKIPPED_TOKENIZER:
        raise CannotStartError(f"ValueError: Tokenizer class {SKIPPED_TOKENIZER} does not exist or is not imported.")


def _ends(model: Path) -> set[int]:
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        if (model / name).is_file():
            said = json.loads((model / name).read_text()).get("eos_token_id")
            found |= set(said) if isinstance(said, list) else {said} if isinstance(said, int) else set()
    return found


if __name__ == "__main__":
    main()
