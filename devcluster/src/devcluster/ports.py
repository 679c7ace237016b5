"""Free ports on loopback for instances.

They come from below the kernel's range for outgoing connections (32768 and up), so that nothing takes the
port of an apiserver while it is stopped, and above the well-known ones.
"""

import secrets
import socket

from devcluster.console import DevclusterError
from devcluster.instance import all_instances

FIRST, LAST = 20000, 29999


def taken_by_instances() -> set[int]:
    """Ports that other instances have reserved, also while they do not listen."""
    states = (instance.read_state() for instance in all_instances())
    return {port for state in states for port in state.get("ports", [])}


def is_free(port: int) -> bool:
    """Whether nobody listens there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def pick(reserved: set[int]) -> int:
    """A free port outside `reserved`. Call under the lock of instances."""
    for _ in range(1000):
        port = FIRST + secrets.randbelow(LAST - FIRST + 1)
        if port not in reserved and is_free(port):
            return port
    raise DevclusterError(f"no free port between {FIRST} and {LAST}")
