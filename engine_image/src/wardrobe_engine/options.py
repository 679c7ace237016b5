"""Command line and environment."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wardrobe_contracts.base import Variant

PREFIX = "WARDROBE_ENGINE_"
"""`--max-batch` is also `WARDROBE_ENGINE_MAX_BATCH`; the command line wins."""


@dataclass(frozen=True)
class Options:
    """What an engine is started with."""

    model: Path
    """Folder of the base, with tokenizer and chat template."""
    quantization: Variant = Variant.NONE
    host: str = "127.0.0.1"
    port: int = 8000
    max_batch: int = 32
    """Requests that are decoded together."""
    max_waiting: int = 128
    """Requests that may wait beside those; more get 429."""
    max_total_tokens: int | None = None
    """Tokens of one request, prompt and answer together; None is the model's context length."""
    served_name: str | None = None
    """What clients call the base; None is the folder's name."""
    drain_seconds: float = 60.0
    """How long accepted requests may go on after SIGTERM."""

    @property
    def base_name(self) -> str:
        """What clients call the base."""
        return self.served_name or self.model.resolve().name


def parse(arguments: Sequence[str]) -> Options:
    """Options of a command line, with the environment's where it is silent. Ends the process where they are wrong."""
    parser = argparse.ArgumentParser(prog="wardrobe-engine", description="Serves one base with many LoRA adapters.")
    _add(parser, "--model", type=Path, help="folder of the base model", required=True)
    _add(parser, "--quantization", type=Variant, default=Variant.NONE, help="None, INT8 or NF4")
    _add(parser, "--host", default=Options.host, help="address to listen on")
    _add(parser, "--port", type=int, default=Options.port, help="port to listen on")
    _add(parser, "--max-batch", type=_positive, default=Options.max_batch, help="requests decoded together")
    _add(parser, "--max-waiting", type=_positive, default=Options.max_waiting, help="requests that may wait")
    _add(parser, "--max-total-tokens", type=_positive, help="tokens of a request; default: the model's context length")
    _add(parser, "--served-name", help="name of the base for clients; default: the folder's name")
    _add(parser, "--drain-seconds", type=float, default=Options.drain_seconds, help="time to finish after SIGTERM")
    return Options(**vars(parser.parse_args(arguments)))


def _add(parser: argparse.ArgumentParser, flag: str, *, required: bool = False, **settings: object) -> None:
    variable = PREFIX + flag.removeprefix("--").replace("-", "_").upper()
    if variable in os.environ:
        # argparse converts and checks a default that is text as it does an argument
        settings["default"], required = os.environ[variable], False
    parser.add_argument(flag, required=required, **settings)  # type: ignore[arg-type]  # argparse types each setting apart


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number
