"""What a person sees in `kubectl logs`: one line per notable step on stdout, and nothing of the libraries' chatter."""

import logging
import os
import sys
import warnings

_log = logging.getLogger("wardrobe")
_trouble = logging.getLogger("wardrobe.trouble")
_trouble.propagate = False
_trouble.addHandler(logging.NullHandler())
_FORM = logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")

_QUIET = {
    "HF_HUB_OFFLINE": "1",  # pods reach nothing; without it each load waits for a name that never resolves
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "BITSANDBYTES_NOWELCOME": "1",
}


def set_up() -> None:
    """Send our lines to stdout with the time of day, and only the errors of libraries to stderr.

    Must run before transformers is imported: it reads its verbosity once.
    """
    os.environ.update(_QUIET)
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr, format="%(name)s: %(message)s")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_FORM)
    _log.handlers[:] = [handler]
    _log.setLevel(logging.INFO)
    _log.propagate = False


def also(handler: logging.Handler) -> None:
    """From now on all that is said here goes there, too."""
    handler.setFormatter(_FORM)
    for logger in (_log, _trouble):
        logger.addHandler(handler)


def complain(text: str) -> None:
    """Lines on stderr about what went wrong, without a word of a row."""
    print(text, file=sys.stderr)  # noqa: T201
    _trouble.error(text)


def say(text: str) -> None:
    """One line about what is being done or was found."""
    _log.info(text)
