"""Programs that the demo starts."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from .console import DemoError, block, going_on


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours and more."""
    return {**os.environ, **more}


def output(argv: Sequence[str], more: Mapping[str, str]) -> str:
    """What it writes. Raises DemoError with its complaint."""
    done = subprocess.run(argv, env=environment(more), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DemoError(f"{shlex.join(argv)}\n{done.stderr.strip() or f'ended with {done.returncode}'}")
    return done.stdout


def run(argv: Sequence[str], more: Mapping[str, str], text: str) -> None:
    """Run to the end, showing its lines as they come and, between them, that it goes on. Raises DemoError."""
    process = subprocess.Popen(argv, env=environment(more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with process, going_on(text) as progress:
        for line in process.stdout or ():
            progress.clear()
            block(line)
    if process.returncode != 0:
        raise DemoError(f"{shlex.join(argv)}\nended with {process.returncode}; what it said is above")
