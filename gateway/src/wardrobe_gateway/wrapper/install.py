"""`wardrobe-wrapper`: puts the wrapper where an engine's container finds it."""

import sys
from pathlib import Path

from pydantic_settings import CliPositionalArg, SettingsConfigDict

from wardrobe_contracts.command import CommandLine

WRAPPER_FILE = "wrapper.py"


class Options(CommandLine):
    """Copies the wrapper into a folder that an engine's container mounts."""

    model_config = SettingsConfigDict(cli_prog_name="wardrobe-wrapper")

    folder: CliPositionalArg[Path]


def main() -> None:
    """Copy it, whole or not at all. Raises OSError."""
    install(Options.parse(sys.argv[1:]).folder)


def install(folder: Path) -> None:
    """An engine that is started at the same moment finds the old one or the new one."""
    partial = folder / f"{WRAPPER_FILE}.partial"
    partial.write_bytes(Path(__file__).with_name(WRAPPER_FILE).read_bytes())
    partial.replace(folder / WRAPPER_FILE)
