"""`wardrobe-engine`: the command."""

import os
import sys

from wardrobe_models import processors

from .options import Options


def main() -> None:
    """Read the options, then serve: torch is imported once they are known to be right."""
    options = Options.parse(sys.argv[1:])
    processors.share()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it has one text at a time, and `prompts` its threads
    from .program import run  # noqa: PLC0415 - torch reads its variables when it is first imported

    run(options)


if __name__ == "__main__":
    main()
