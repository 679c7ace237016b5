"""`wardrobe-check-base`: are a base's files those that were inspected? Run before engines that do not ask."""

import sys
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from wardrobe_contracts.base import Fingerprint
from wardrobe_contracts.base_files import base_files
from wardrobe_contracts.command import CommandLine
from wardrobe_contracts.digests import fingerprint_like


class Options(CommandLine):
    """Compares the files of a base with its fingerprint, in about a second."""

    model_config = SettingsConfigDict(cli_prog_name="wardrobe-check-base")

    folder: Path = Field(description="folder of the base")
    fingerprint: Fingerprint = Field(description="the base's as it was inspected")


def main() -> None:
    """End with code 0 where they are the same, with 1 and what is wrong where they are not."""
    options = Options.parse(sys.argv[1:])
    if problem := difference(options.folder, options.fingerprint):
        sys.exit(f"{options.folder} cannot be served: {problem}")


def difference(folder: Path, expected: Fingerprint) -> str | None:
    """What is wrong with the files and what to do; None where nothing is."""
    try:
        found = fingerprint_like(expected, folder, base_files(folder))
    except (OSError, ValueError) as error:
        return f"its files cannot be read: {error}. Put those back that its BaseModel was inspected with"
    if found == expected:
        return None
    return (
        "its files are not those that its BaseModel was inspected with. Put the inspected files back, or make a new "
        f"BaseModel for the new ones. Their fingerprint is {found}, not {expected}"
    )


if __name__ == "__main__":
    main()
