"""`wardrobe-engine`: the command."""

import sys

from . import processors
from .options import parse


def main() -> None:
    """Entry point of the image."""
    options = parse(sys.argv[1:])
    processors.share()
    from .program import run  # noqa: PLC0415 - torch reads its variables when it is first imported

    run(options)


if __name__ == "__main__":
    main()
