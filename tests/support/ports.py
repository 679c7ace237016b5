"""Ports for programs that are told theirs, and bind them seconds later: torch and its model are loaded before."""

import fcntl
import os
import socket
import tempfile
from pathlib import Path

FIRST, LAST = 12000, 19999
"""Below those that the kernel gives to connections and to whoever asks for any (from 32768 on), and those of control
planes (devcluster.ports)."""
GIVEN = Path(tempfile.gettempdir()) / f"wardrobe-ports-{os.getuid()}"
"""The last one that a test of this machine was given: several run at the same time."""


def free_port() -> int:
    """One that nobody listens on, and that nobody else is given for thousands of times."""
    with GIVEN.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        port = _next(int(file.read() or LAST))
        while not _is_free(port):
            port = _next(port)
        file.truncate(0)
        file.write(str(port))
    return port


def _next(port: int) -> int:
    return port + 1 if port < LAST else FIRST


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
