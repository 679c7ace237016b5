"""The command line of an engine's container: the wrapper, which an init container brings, and the engine below it."""

from collections.abc import Sequence

from wardrobe_contracts import paths

WRAPPER = f"{paths.CONTROL}/wrapper.py"


def wrapped(command: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    """For a container whose image has Python 3.9 or newer on PATH, in its entry point's stead. Arguments may follow."""
    return ["python3", WRAPPER, "--control", paths.CONTROL, *options, "--", *command]
